// loop-to-lanes: gives every value of the program a row dimension and makes K/V rows explicit.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `loop-to-lanes` and `loop-split-stages` leave behind, for those who read LANES (interpreter, code generator).
// test/Dialect/Loop/lanes.mlir is a whole model in this form.
//
// Model level, in this order: counts, knobs, weights, sites (each with `plan` and `stage`), one `loop.bank @slot`, one
// `loop.schedule`, then the stages `prelude`, `core`, `coda`, `head`; `core` only with a loop, `coda` only if something
// after the loop attends. Weights that a merged weight lists stay as declarations and have no `loop.param`.
//
// Stages. Block arguments: (lanes<lane>, rounds: index, bank, cache if the stage has sites). `loop.return`: (bank, cache
// if there is one, then for `head` the logits: tensor<?xVxf32, rows<lane>>). `rounds` has a use in `core` only.
//   prelude: …, loop.store of every field it makes.
//   core:    loop.load of states and of values captured by the loop; exactly one loop.recur; loop.store of its states.
//   coda:    loop.load of what it needs, …, loop.store of what `head` needs.
//   head:    loop.load, …, returns the logits.
// A field is loaded before the first store of the stage, at most once; stores stand at the end of the stage.
//
// loop.recur: `rounds` is the stage's argument, `of` the stage's lanes. Block arguments: (lanes<lane.NAME>, states,
// with, cache?), NAME being the recur's name; states and with values have rows<lane.NAME> inside, rows<lane> outside.
// yield: (states, cache?), exit(tensor<?xi1, rows<lane.NAME>>) iff the recur has `exit`. The body captures only index
// scalars and values without rows. The iteration is the column `iteration` of the body's lanes (number of iterations
// completed before this one, from 0).
// loop.stack: (index, states, cache?); loop.where with an i1 condition: (states, cache?). Both keep the row space, and
// may capture row values of that space. There is no loop.where with a condition per row: it has become arith.select.
//
// Cache: one chain of SSA values per stage: kv.append gives a new one, kv.attend reads it. The kv.attend of a site
// follows its kv.append. k and v have the row type of the site's plan; q is f32. `kv.append`/`kv.attend` have one index
// per table of the site.
//
// Bank fields (types without rows), in this order:
//   states of the recur: name of the state (attribute `state_names` of the recur, else a tap's name, else NAME.i)
//   values that a later stage reads: a tap's name, else `STAGE.i` of the stage that makes them
//   `draw.NAME`: written by the runtime before `prelude` runs; never stored by a stage
//   `obs.NAME`: observed taps; inside a loop they are extra states of the recur, zero from `prelude` on
// A value that is named twice gets `.2`, `.3`, … .
//
// Values without rows (loop.param, arith.constant, element functions of them, casts, reshape/broadcast/slice/concat of
// them) are evaluated in the stage that needs them and enter row arithmetic by loop.spread. Operands that have no rows:
// weight and bias of linear, gain of norm, table of embed, input of spread. Index and i1 scalars (layer indices,
// arith on them) have no rows either.
//
// Upstream ops that may appear, with operands and results in one row space or without rows:
//   arith: constant addf subf mulf divf negf maximumf minimumf remf cmpf select andi ori xori extf truncf sitofp fptosi
//          addi subi muli cmpi (on tensors of i32 and i1), and index arithmetic: constant addi subi muli divsi remsi cmpi
//   math:  every element function (exp log sqrt rsqrt absf floor ceil sin cos tanh erf powf fma …)
#include "loopc/Dialect/Loop/Loop.h"
