// Ops of the `task` dialect: memory, control, phases, what items do.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_TASK_TASKOPS
#define LOOPC_DIALECT_TASK_TASKOPS

include "loopc/Dialect/Task/TaskBase.td"
include "loopc/Dialect/Task/TaskInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"

//===-- memory ---------------------------------------------------------------------------------------------------===//
def Task_BufferOp : Task_Op<"buffer"> {
  let summary = "row buffer in the arena; `offset` (bytes per row of capacity) is the memory plan's";
  let description = [{
    With `planes` it is that many buffers one behind the other, named by `task.plane`; pages that no iteration reaches
    are never touched. With `rows` it has so many rows only, whatever the capacity: row r is row r modulo `rows`, and
    `offset` is bytes behind the other buffers.

    ```mlir
    %x = task.buffer at 3072 : !task.mem<768, f32>
    ```
  }];
  let arguments = (ins OptionalAttr<I64Attr>:$offset, OptionalAttr<I64Attr>:$planes, OptionalAttr<I64Attr>:$rows);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "(`at` $offset^)? (`planes` $planes^)? (`rows` $rows^)? attr-dict `:` type($result)";
}
def Task_PlaneOp : Task_Op<"plane", [Pure, AllTypesMatch<["buffer", "result"]>]> {
  let summary = "one plane of a buffer that has several";
  let description = [{
    ```mlir
    // with %t : index
    %kept = task.buffer planes 64 : !task.mem<768, f32>
    %x = task.plane %kept[%t] : !task.mem<768, f32>
    ```
  }];
  let arguments = (ins Task_MemType:$buffer, Index:$index);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$buffer `[` $index `]` attr-dict `:` type($result)";
}
def Task_GivenOp : Task_Op<"given", [Pure]> {
  let summary = "row values that the caller of a training step gives (loopc_step.given): labels, counts, draws";
  let description = [{
    ```mlir
    %l = task.given 0 : !task.mem<1, i32>
    ```
  }];
  let arguments = (ins I64Attr:$number);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$number attr-dict `:` type($result)";
}
def Task_GradientOp : Task_Op<"gradient", [Pure]> {
  let summary = "the gradient of one table of a weight, row-major: entry `entry` + sum of index * stride of loopc_step.gradient";
  let description = [{
    ```mlir
    // with %l : index
    %g = task.gradient "core.attn.q" entry 3 [%l] strides [1] : !task.mem<589824, f32>
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$entry, Variadic<Index>:$index, DenseI64ArrayAttr:$strides);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$name `entry` $entry (`[` $index^ `]`)? `strides` $strides attr-dict `:` type($result)";
}
def Task_ParamOp : Task_Op<"param", [Pure]> {
  let summary = "one table of a parameter: entry `entry` + sum of index * stride of the parameter table; panels may have a `format`";
  let description = [{
    ```mlir
    // with %l : index
    %w = task.param "core.attn.q" entry 3 panel [%l] strides [1] : !task.mem<589824, bf16>
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$entry, Variadic<Index>:$index, DenseI64ArrayAttr:$strides, UnitAttr:$panel,
                       OptionalAttr<StrAttr>:$format);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$name `entry` $entry (`panel` $panel^)? (`format` $format^)? (`[` $index^ `]`)? `strides` $strides attr-dict `:` type($result)";
}
def Task_FieldOp : Task_Op<"field", [Pure]> {
  let summary = "a field of the state bank slot of every row; `offset` in bytes";
  let description = [{
    ```mlir
    %h = task.field "h" at 64 : !task.mem<768, f32>
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$offset);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$name `at` $offset attr-dict `:` type($result)";
}
def Task_ColumnOp : Task_Op<"column", [Pure]> {
  let summary = "a column of the call";
  let description = [{
    ```mlir
    %p = task.column position : !task.mem<1, i32>
    ```
  }];
  let arguments = (ins Loop_ColumnAttr:$column);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$column attr-dict `:` type($result)";
}
def Task_KnobOp : Task_Op<"knob", [Pure]> {
  let summary = "knob `number` of the sequence of every row";
  let description = [{
    ```mlir
    %q = task.knob 0 : !task.mem<1, f32>
    ```
  }];
  let arguments = (ins I64Attr:$number);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$number attr-dict `:` type($result)";
}
def Task_OutOp : Task_Op<"out", [Pure]> {
  let summary = "the output rows of the call (logits)";
  let description = [{
    ```mlir
    %o = task.out : !task.mem<32768, f32>
    ```
  }];
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}
def Task_ConstantOp : Task_Op<"constant", [Pure]> {
  let summary = "the same elements for every row";
  let description = [{
    ```mlir
    %c = task.constant dense<[1.0, 0.5]> : tensor<2xf32> : !task.mem<2, f32>
    ```
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs Task_MemType:$result);
  let assemblyFormat = "$value attr-dict `:` type($result)";
}

//===-- control --------------------------------------------------------------------------------------------------===//
class Task_RegionOp<string mnemonic, list<Trait> traits = []>
    : Task_Op<mnemonic, !listconcat([NoTerminator, SingleBlock], traits)>;

def Task_ProgramOp : Task_RegionOp<"program", [Symbol, IsolatedFromAbove, NoRegionArguments]> {
  let summary = "the body of one worker of one stage";
  let description = [{
    `arena` bytes per row of capacity and `fixed` bytes behind them, `syncs` and `pool` (index in loopc_memory, -1: none) are the passes'.

    ```mlir
    task.program @prelude pool 0 arena 3072 syncs 1 {
      %all = task.all
      task.sync 0
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$pool, OptionalAttr<I64Attr>:$arena, OptionalAttr<I64Attr>:$fixed, OptionalAttr<I64Attr>:$syncs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `pool` $pool (`arena` $arena^)? (`fixed` $fixed^)? (`syncs` $syncs^)? $body attr-dict";
}
def Task_AllOp : Task_Op<"all", [Pure]> {
  let summary = "all rows of the call";
  let description = [{
    ```mlir
    %all = task.all
    ```
  }];
  let results = (outs Task_ListType:$result);
  let assemblyFormat = "attr-dict";
}
def Task_RoundsOp : Task_RegionOp<"rounds"> {
  let summary = "up to `rounds` iterations over the rows that still run";
  let description = [{
    The block argument lists the rows with iteration < limit whose exit has not fired (or all of them with
    LOOPC_CALL_KEEP_RUNNING). The loop ends, in every worker alike, when the list is empty.

    ```mlir
    task.rounds {
    ^bb0(%on: !task.list):
      task.sync 0
    }
    ```
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
}
def Task_LayersOp : Task_RegionOp<"layers"> {
  let summary = "a rolled stack; the block argument is the layer index; `backward`: from the last layer to the first";
  let description = [{
    ```mlir
    task.layers 24 {
    ^bb0(%l: index):
      task.sync 0
    }
    ```
  }];
  let arguments = (ins I64Attr:$layers, UnitAttr:$backward);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$layers (`backward` $backward^)? $body attr-dict";
}
def Task_TurnsOp : Task_RegionOp<"turns"> {
  let summary = "the iterations of a loop in a training step; the block arguments are the iteration and the rows that run it";
  let description = [{
    Row r of `list` runs the iterations from `first`[r] (else 0) on that are below `limit`[r], `backward` from the last to
    the first.

    ```mlir
    // with %all : !task.list, %limit : !task.mem<1, i32>, %first : !task.mem<1, i32>
    task.turns of %all limit %limit : !task.mem<1, i32> first %first : !task.mem<1, i32> backward {
    ^bb0(%t: index, %on: !task.list):
      task.sync 0
    }
    ```
  }];
  let arguments = (ins Task_ListType:$list, Task_MemType:$limit, Optional<Task_MemType>:$first, UnitAttr:$backward);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`of` $list `limit` $limit `:` type($limit) (`first` $first^ `:` type($first))? (`backward` $backward^)? $body attr-dict";
}
def Task_ChunksOp : Task_RegionOp<"chunks"> {
  let summary = "the rows of a list in pieces of `rows`: what is wide is held for one piece only";
  let description = [{
    ```mlir
    // with %all : !task.list
    task.chunks 256 of %all {
    ^bb0(%some: !task.list):
      task.sync 0
    }
    ```
  }];
  let arguments = (ins I64Attr:$rows, Task_ListType:$list);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$rows `of` $list $body attr-dict";
}
def Task_IfOp : Task_RegionOp<"if", [NoRegionArguments]> {
  let summary = "phases that run if a condition, equal in every worker, holds";
  let description = [{
    ```mlir
    // with %attends : i1
    task.if %attends {
      task.sync 0
    }
    ```
  }];
  let arguments = (ins I1:$condition);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$condition $body attr-dict";
}
def Task_PhaseOp : Task_RegionOp<"phase", [NoRegionArguments]> {
  let summary = "work cut over the workers";
  let description = [{
    ```mlir
    // with %on : !task.list, %x : !task.mem<4, f32>, %y : !task.mem<4, f32>
    task.phase "copy" rows of %on {
      task.map ins(%x : !task.mem<4, f32>) outs(%y : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>] {
      ^bb0(%a: f32):
        task.yield %a : f32
      }
    }
    ```
  }];
  let arguments = (ins StrAttr:$name, Task_ItemsAttr:$items, Task_ListType:$list);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$name $items `of` $list $body attr-dict";
}
def Task_SyncOp : Task_Op<"sync"> {
  let summary = "no worker goes on before all have arrived";
  let description = [{
    ```mlir
    task.sync 3
    ```
  }];
  let arguments = (ins I64Attr:$id);
  let assemblyFormat = "$id attr-dict";
}

//===-- what items do --------------------------------------------------------------------------------------------===//
class Task_ItemOp<string mnemonic, list<string> overridden = [], list<Trait> traits = []>
    : Task_Op<mnemonic, !listconcat([AttrSizedOperandSegments,
                                     DeclareOpInterfaceMethods<Task_ItemOpInterface, overridden>], traits)>;
defvar inOut = "`ins` `(` $ins `:` type($ins) `)` `outs` `(` $outs `:` type($outs) `)` `shape` $shape `views` $views";

def Task_MapOp : Task_ItemOp<"map", ["isElementwise"], [SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "element functions over an index space; scalar arith and math ops on elements";
  let description = [{
    ```mlir
    // with %x : !task.mem<8, f32>, %gate : !task.mem<1, f32>, %y : !task.mem<8, f32>
    // a view with stride 0 gives every element the same value
    task.map ins(%x, %gate : !task.mem<8, f32>, !task.mem<1, f32>) outs(%y : !task.mem<8, f32>) shape [8]
        views [#task.view<0, [1]>, #task.view<0, [0]>, #task.view<0, [1]>] {
    ^bb0(%a: f32, %g: f32):
      %p = arith.mulf %a, %g : f32
      task.yield %p : f32
    }
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "(`ins` `(` $ins^ `:` type($ins) `)`)? `outs` `(` $outs `:` type($outs) `)` `shape` $shape `views` $views $body attr-dict";
  let hasVerifier = 1;
}
def Task_YieldOp : Task_Op<"yield", [Pure, Terminator, ParentOneOf<["MapOp", "GemmOp"]>]> {
  let summary = "the elements of the outputs";
  let description = [{
    ```mlir
    // with %x : !task.mem<4, f32>, %y : !task.mem<4, f32>
    task.map ins(%x : !task.mem<4, f32>) outs(%y : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%a: f32):
      task.yield %a : f32
    }
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let builders = [OpBuilder<(ins), "build($_builder, $_state, ValueRange{});">];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}
def Task_GemmOp : Task_ItemOp<"gemm", ["isElementwise"], [SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "rows times packed panels, then an epilogue on every element of the outputs";
  let description = [{
    The first of `ins` is the row [k], the second the panels; the others belong to the epilogue. `shape` is the space of
    output columns [n]; the panels hold `groups` * n rows and the epilogue's first `groups` arguments are the sums of
    columns j, n + j, ... . Order `chain`: one fused multiply-add chain over ascending k from +0 for each sum.

    ```mlir
    // with %x : !task.mem<4, f32>, %w : !task.mem<128, f32>, %old : !task.mem<4, f32>, %y : !task.mem<4, f32>
    // four outputs (one panel of 32 rows) of four inputs, and a residual
    task.gemm k 4 groups 1 ins(%x, %w, %old : !task.mem<4, f32>, !task.mem<128, f32>, !task.mem<4, f32>) outs(%y : !task.mem<4, f32>)
        shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%sum: f32, %r: f32):
      %new = arith.addf %sum, %r : f32
      task.yield %new : f32
    }
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views,
                       I64Attr:$k, I64Attr:$groups);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = !strconcat("`k` $k `groups` $groups ", inOut, " $body attr-dict");
  let hasVerifier = 1;
}
def Task_NormOp : Task_ItemOp<"norm"> {
  let summary = "normalisation over the last axis: ins x, gain?; squares summed per 32 columns (halving tree), panels ascending";
  let description = [{
    ```mlir
    // with %x : !task.mem<64, f32>, %gain : !task.mem<64, f32>, %y : !task.mem<64, f32>
    task.norm rms eps 1.0e-6 ins(%x, %gain : !task.mem<64, f32>, !task.mem<64, f32>) outs(%y : !task.mem<64, f32>)
        shape [64] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views,
                       Loop_NormKindAttr:$kind, F64Attr:$eps);
  let assemblyFormat = !strconcat("$kind `eps` $eps ", inOut, " attr-dict");
}
def Task_SoftmaxOp : Task_ItemOp<"softmax"> {
  let summary = "softmax over the last axis; the sum in panels of 32";
  let description = [{
    ```mlir
    // with %x : !task.mem<8, f32>, %y : !task.mem<8, f32>
    task.softmax ins(%x : !task.mem<8, f32>) outs(%y : !task.mem<8, f32>) shape [8] views [#task.view<0, [1]>, #task.view<0, [1]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views);
  let assemblyFormat = !strconcat(inOut, " attr-dict");
}
def Task_ReduceOp : Task_ItemOp<"reduce"> {
  let summary = "reduces axis `axis` of `shape`; the output view has stride 0 there; last axis in panels of 32, others ascending";
  let description = [{
    ```mlir
    // with %x : !task.mem<8, f32>, %y : !task.mem<1, f32>
    task.reduce max over 0 ins(%x : !task.mem<8, f32>) outs(%y : !task.mem<1, f32>) shape [8] views [#task.view<0, [1]>, #task.view<0, [0]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views,
                       Loop_ReduceKindAttr:$kind, I64Attr:$axis);
  let assemblyFormat = !strconcat("$kind `over` $axis ", inOut, " attr-dict");
}
def Task_FoldOp : Task_ItemOp<"fold"> {
  let summary = "reduces over the rows of a sequence, or of the call (`batch`), rows ascending; every row gets the result";
  let description = [{
    ```mlir
    // with %x : !task.mem<8, f32>, %y : !task.mem<8, f32>
    task.fold sum ins(%x : !task.mem<8, f32>) outs(%y : !task.mem<8, f32>) shape [8] views [#task.view<0, [1]>, #task.view<0, [1]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views,
                       Loop_ReduceKindAttr:$kind, UnitAttr:$batch);
  let assemblyFormat = !strconcat("$kind (`batch` $batch^)? ", inOut, " attr-dict");
}
def Task_DotOp : Task_ItemOp<"dot"> {
  let summary = "one sum of products: ins x, weight, bias?; in panels of 32";
  let description = [{
    ```mlir
    // with %x : !task.mem<64, f32>, %gate : !task.mem<64, f32>, %bias : !task.mem<1, f32>, %y : !task.mem<1, f32>
    task.dot ins(%x, %gate, %bias : !task.mem<64, f32>, !task.mem<64, f32>, !task.mem<1, f32>) outs(%y : !task.mem<1, f32>)
        shape [64] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [0]>, #task.view<0, [0]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views);
  let assemblyFormat = !strconcat(inOut, " attr-dict");
}
def Task_RopeOp : Task_ItemOp<"rope"> {
  let summary = "rotary position embedding over the last axis: ins x, place?; the position is place, else the column's";
  let description = [{
    ```mlir
    // with %q : !task.mem<128, f32>, %y : !task.mem<128, f32>
    // two heads of 64
    task.rope base 1.0e4 halves ins(%q : !task.mem<128, f32>) outs(%y : !task.mem<128, f32>)
        shape [2, 64] views [#task.view<0, [64, 1]>, #task.view<0, [64, 1]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views,
                       F64Attr:$base, Loop_PairsAttr:$pairs, UnitAttr:$backward, OptionalAttr<TypeAttr>:$table);
  let assemblyFormat = !strconcat("`base` $base $pairs (`backward` $backward^)? (`table` $table^)? ", inOut, " attr-dict");
}
def Task_EmbedOp : Task_ItemOp<"embed"> {
  let summary = "row `id` of a table: ins id, table";
  let description = [{
    ```mlir
    // with %id : !task.mem<1, i32>, %table : !task.mem<4096, bf16>, %y : !task.mem<64, f32>
    task.embed ins(%id, %table : !task.mem<1, i32>, !task.mem<4096, bf16>) outs(%y : !task.mem<64, f32>)
        shape [64] views [#task.view<0, [0]>, #task.view<0, [1]>, #task.view<0, [1]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views);
  let assemblyFormat = !strconcat(inOut, " attr-dict");
}
def Task_AdvanceOp : Task_ItemOp<"advance", ["writesColumns"]> {
  let summary = "ends an iteration of a row: iteration + 1; `exited` is set if the test (ins, optional) holds";
  let description = [{
    From which iteration on and how often the test may act is the runtime's to decide, per request.

    ```mlir
    // with %stop : !task.mem<1, i1>
    task.advance ins(%stop : !task.mem<1, i1>) views [#task.view<0, [0]>]
    ```
  }];
  let arguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, Task_ViewArrayAttr:$views);
  let assemblyFormat = "(`ins` `(` $ins^ `:` type($ins) `)`)? (`outs` `(` $outs^ `:` type($outs) `)`)? `views` $views attr-dict";
}

/// Where the rows of a site are: pool, first element of the site in a page (plus layer * layer_stride), plane of an
/// iteration.
class Task_SiteOp<string mnemonic, list<string> overridden> : Task_ItemOp<mnemonic, overridden> {
  dag site = (ins I64Attr:$pool, I64Attr:$offset, Variadic<Index>:$index, DenseI64ArrayAttr:$strides, I64Attr:$heads, I64Attr:$dim,
                  AffineMapAttr:$plane, TypeAttr:$rows);
}
defvar sitePrint = "`pool` $pool `offset` $offset (`[` $index^ `]`)? `strides` $strides `heads` $heads `dim` $dim `plane` $plane `rows` $rows ";
def Task_AppendOp : Task_SiteOp<"append", ["getPoolWritten"]> {
  let summary = "writes the key and value row of a lane: ins k, v of shape [heads, dim]";
  let description = [{
    ```mlir
    // with %l : index, %k : !task.mem<128, f32>, %v : !task.mem<128, f32>
    task.append pool 0 offset 0 [%l] strides [1] heads 2 dim 64 plane affine_map<(d) -> (d)> rows bf16
        ins(%k, %v : !task.mem<128, f32>, !task.mem<128, f32>) shape [2, 64] views [#task.view<0, [64, 1]>, #task.view<0, [64, 1]>]
    ```
  }];
  let arguments = !con((ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views), site);
  let assemblyFormat = !strconcat(sitePrint, "`ins` `(` $ins `:` type($ins) `)` (`outs` `(` $outs^ `:` type($outs) `)`)? `shape` $shape `views` $views attr-dict");
}
def Task_AttendOp : Task_SiteOp<"attend", ["getPoolRead"]> {
  let summary = "attention of a lane and a key head: ins q and optionally the least product, outs o of shape [query heads, dim]";
  let description = [{
    Order `keys 64, split 512`: blocks of 64 keys anchored at logical positions, online softmax inside 512 keys, partial
    results merged ascending. Key positions without a row have weight +0. `ahead`: positions below the `prefix` of the
    sequence are seen by all. `before` n: the keys end n positions before the own; `upto`: those of all iterations up to
    the own, ascending; `sparse`: a row whose key is not a number is no row; `log_sum`: a head has one more feature, the
    logarithm of the sum of its exponentials. Keys whose product is below the least one of the query head have weight +0.
    Source of the online form: Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135.

    ```mlir
    // with %l : index, %q : !task.mem<256, f32>, %o : !task.mem<256, f32>
    // four query heads on two key heads
    task.attend pool 0 offset 0 [%l] strides [1] heads 2 dim 64 plane affine_map<(d) -> (d)> rows bf16 scale 0.125
        ins(%q : !task.mem<256, f32>) outs(%o : !task.mem<256, f32>) shape [4, 64] views [#task.view<0, [64, 1]>, #task.view<0, [64, 1]>]
    ```
  }];
  let arguments = !con((ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views), site,
                       (ins F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap, UnitAttr:$ahead, OptionalAttr<I64Attr>:$before, UnitAttr:$upto,
                            UnitAttr:$log_sum, UnitAttr:$sparse));
  let assemblyFormat = !strconcat(sitePrint, "`scale` $scale (`window` $window^)? (`softcap` $softcap^)? (`ahead` $ahead^)? (`before` $before^)? (`upto` $upto^)? (`log_sum` $log_sum^)? (`sparse` $sparse^)? `ins` `(` $ins `:` type($ins) `)` `outs` `(` $outs `:` type($outs) `)` `shape` $shape `views` $views attr-dict");
}

/// The bytes of a key row, then those of a value row, as f32.
def Task_RecallOp : Task_SiteOp<"recall", ["getPoolRead"]> {
  let summary = "the state that was left at a site: ins init and optionally a position, outs o of shape [elements]";
  let description = [{
    That of the position before in plane `plane`, `init` at position 0; with a position that of it, `init` if it is not an older one. `own`: after the first iteration the row of the
    lane's own position, which the iteration before has written.

    ```mlir
    // with %i : !task.mem<128, f32>, %o : !task.mem<128, f32>
    task.recall pool 0 offset 0 strides [] heads 1 dim 64 plane affine_map<(d) -> (d)> rows f32
        ins(%i : !task.mem<128, f32>) outs(%o : !task.mem<128, f32>) shape [128] views [#task.view<0, [1]>, #task.view<0, [1]>]
    ```
  }];
  let arguments = !con((ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views), site,
                       (ins UnitAttr:$own));
  let assemblyFormat = !strconcat(sitePrint, "(`own` $own^)? `ins` `(` $ins `:` type($ins) `)` `outs` `(` $outs `:` type($outs) `)` `shape` $shape `views` $views attr-dict");
}
def Task_KeepOp : Task_SiteOp<"keep", ["getPoolWritten"]> {
  let summary = "leaves a state: ins x of shape [elements]";
  let description = [{
    ```mlir
    // with %x : !task.mem<128, f32>
    task.keep pool 0 offset 0 strides [] heads 1 dim 64 plane affine_map<(d) -> (d)> rows f32
        ins(%x : !task.mem<128, f32>) shape [128] views [#task.view<0, [1]>]
    ```
  }];
  let arguments = !con((ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views), site);
  let assemblyFormat = !strconcat(sitePrint, "`ins` `(` $ins `:` type($ins) `)` (`outs` `(` $outs^ `:` type($outs) `)`)? `shape` $shape `views` $views attr-dict");
}

//===-- training -------------------------------------------------------------------------------------------------===//

class Task_TrainOp<string mnemonic> : Task_ItemOp<mnemonic>;
defvar trainArguments = (ins Variadic<Task_MemType>:$ins, Variadic<Task_MemType>:$outs, DenseI64ArrayAttr:$shape, Task_ViewArrayAttr:$views);
def Task_CrossEntropyOp : Task_TrainOp<"cross_entropy"> {
  let summary = "-log softmax(x)[label]: ins x, label; 0 where the label is no column";
  let description = [{
    ```mlir
    // with %z : !task.mem<64, f32>, %l : !task.mem<1, i32>, %y : !task.mem<1, f32>
    task.cross_entropy ins(%z, %l : !task.mem<64, f32>, !task.mem<1, i32>) outs(%y : !task.mem<1, f32>)
        shape [64] views [#task.view<0, [1]>, #task.view<0, [0]>, #task.view<0, [0]>]
    ```
  }];
  let arguments = trainArguments;
  let assemblyFormat = !strconcat(inOut, " attr-dict");
}
def Task_OneHotOp : Task_TrainOp<"one_hot"> {
  let summary = "1 at column `id`, else 0: ins id";
  let description = [{
    ```mlir
    // with %l : !task.mem<1, i32>, %y : !task.mem<64, f32>
    task.one_hot ins(%l : !task.mem<1, i32>) outs(%y : !task.mem<64, f32>) shape [64] views [#task.view<0, [0]>, #task.view<0, [1]>]
    ```
  }];
  let arguments = trainArguments;
  let assemblyFormat = !strconcat(inOut, " attr-dict");
}
def Task_AccumulateOp : Task_TrainOp<"accumulate"> {
  let summary = "adds a sum over the rows to a gradient: of d, of d ⊗ x (`outer`), of d at row id (`row`)";
  let description = [{
    Rows ascend. The sums of up to 256 rows of the list (of an outer product, a fused multiply-add chain from +0) are
    added to the gradient one after the other, whoever does it; with `row` every row by itself.

    ```mlir
    // with %d : !task.mem<8, f32>, %x : !task.mem<4, f32>, %g : !task.mem<32, f32>
    task.accumulate outer ins(%d, %x : !task.mem<8, f32>, !task.mem<4, f32>) outs(%g : !task.mem<32, f32>)
        shape [8, 4] views [#task.view<0, [1, 0]>, #task.view<0, [0, 1]>, #task.view<0, [4, 1]>]
    ```
  }];
  let arguments = !con(trainArguments, (ins UnitAttr:$outer, UnitAttr:$row));
  let assemblyFormat = !strconcat("(`outer` $outer^)? (`row` $row^)? ", inOut, " attr-dict");
}
def Task_AttendRowsOp : Task_TrainOp<"attend_rows"> {
  let summary = "attention of the rows of a sequence to each other: ins q, k, v, outs o and the logarithm of the sum of exponentials, or `backward`";
  let description = [{
    `backward`: ins q, k, v, o, log-sum, adjoint of o; outs dq, dk, dv. `heads`: of queries, of keys, their width, that
    of values; a view has the steps to the next head and element. Blocks of 64 rows and 64 keys, anchored at the
    beginning of a sequence; keys ascend for a row, rows ascend for a key. `ahead`: positions below the `prefix` of the
    sequence are seen by all; `whole`: every row sees every key.

    ```mlir
    // with %q : !task.mem<256, f32>, %k : !task.mem<128, f32>, %v : !task.mem<128, f32>, %o : !task.mem<256, f32>, %s : !task.mem<4, f32>
    task.attend_rows heads [4, 2, 64, 64] scale 0.125 ins(%q, %k, %v : !task.mem<256, f32>, !task.mem<128, f32>, !task.mem<128, f32>)
        outs(%o, %s : !task.mem<256, f32>, !task.mem<4, f32>) shape [256]
        views [#task.view<0, [64, 1]>, #task.view<0, [64, 1]>, #task.view<0, [64, 1]>, #task.view<0, [64, 1]>, #task.view<0, [1, 1]>]
    ```
  }];
  let arguments = !con(trainArguments, (ins DenseI64ArrayAttr:$heads, F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap,
                       OptionalAttr<I64Attr>:$before, UnitAttr:$ahead, UnitAttr:$whole, UnitAttr:$backward));
  let assemblyFormat = !strconcat("`heads` $heads `scale` $scale (`window` $window^)? (`softcap` $softcap^)? (`before` $before^)? (`ahead` $ahead^)? (`whole` $whole^)? (`backward` $backward^)? ", inOut, " attr-dict");
}

#endif
