// The `task` dialect: what every worker does in a stage call, over memory instead of tensors.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_TASK_TASKBASE
#define LOOPC_DIALECT_TASK_TASKBASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "loopc/Dialect/Loop/LoopBase.td"
include "loopc/Dialect/Task/TaskEnums.td"

def Task_Dialect : Dialect {
  let name = "task";
  let cppNamespace = "::mlir::task";
  let summary = "worker programs of the stages of a looped model";
  let description = [{
    The fourth form of a model. A `task.program` is run by every worker of a call. Its phases cut *items* (rows, panels
    of output columns, heads of a lane, features of sequences) statically and contiguously over the workers; phases that conflict are
    separated by a `task.sync`. There are no tensors: memory is named by ops that give a `!task.mem`, so many elements
    for each row (lane) of the call, and ops read and write it through strided views.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["::mlir::loop::LoopDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def Task_ItemsAttr : EnumAttr<Task_Dialect, Task_Items, "items"> { let assemblyFormat = "$value"; }

def Task_ViewAttr : AttrDef<Task_Dialect, "View"> {
  let mnemonic = "view";
  let summary = "which elements of a memory an operand is: offset + sum of index * stride, in elements";
  let parameters = (ins "int64_t":$offset, ArrayRefParameter<"int64_t", "one per dimension, at least one">:$strides);
  let assemblyFormat = "`<` $offset `,` `[` $strides `]` `>`";
}
def Task_ViewArrayAttr : TypedArrayAttrBase<Task_ViewAttr, "views of the operands">;

def Task_MemType : TypeDef<Task_Dialect, "Mem"> {
  let mnemonic = "mem";
  let summary = "so many elements for each row; i1 is kept in bytes";
  let parameters = (ins "int64_t":$count, "::mlir::Type":$element);
  let assemblyFormat = "`<` $count `,` $element `>`";
}
def Task_ListType : TypeDef<Task_Dialect, "List"> {
  let mnemonic = "list";
  let summary = "rows of the call, ascending; every worker has its own equal copy";
}

class Task_Op<string mnemonic, list<Trait> traits = []> : Op<Task_Dialect, mnemonic, traits>;

#endif
