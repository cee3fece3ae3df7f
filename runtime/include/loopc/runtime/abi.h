/* The C interface between a compiled artefact and the runtime that calls it.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * One definition for both sides: the runtime fills these structs, the code generator reads them at offsetof(...).
 * All pointers are aligned to 64 bytes unless stated. All sizes are in bytes unless stated. Indices are 0-based.
 */
#ifndef LOOPC_RUNTIME_ABI_H
#define LOOPC_RUNTIME_ABI_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOOPC_ABI_VERSION 2u    /* structs of this file */
#define LOOPC_SCHEMA_VERSION 1u /* keys of the metadata JSON */
#define LOOPC_PACK_VERSION 2u   /* layout of packed weights */
#define LOOPC_PAGE_ROWS 16u     /* K/V rows (positions of one plane) of a page */
#define LOOPC_PANEL 32u         /* output columns of a packed weight panel */
#define LOOPC_MAX_POOLS 4u

/* K/V rows of one stage ("pool"). Row id r lies in page r / LOOPC_PAGE_ROWS at index r % LOOPC_PAGE_ROWS;
 * the value x[layer][kv: 0 key, 1 value][head][r][dim] of a page has index
 *   ((layer * 2 + kv) * heads + head) * LOOPC_PAGE_ROWS * dim + (r % LOOPC_PAGE_ROWS) * dim
 * with heads and dim given per site by the artefact (sites of a stage are concatenated; site_offset is a constant of
 * the generated code). `base` never moves while an artefact is loaded. */
typedef struct loopc_pool {
  uint8_t *base;
  uint64_t page_bytes;
} loopc_pool;

/* What the rows of one sequence (or branch) are: row id of (pool, plane, position) is
 * rows[pool][plane * stride + position]; -1 where nothing was written. Entries of the lanes of this call are already
 * those they are to write. */
typedef struct loopc_sequence {
  const int32_t *rows[LOOPC_MAX_POOLS];
  uint32_t stride; /* positions a plane of `rows` has room for */
  uint32_t prefix; /* positions < prefix are seen by all (prefix masks); 0 for causal */
  const float *knobs; /* run-time options of this sequence, in the order of the metadata's "knobs" */
} loopc_sequence;

/* One call of a stage: lanes sorted by (sequence, position), at most `capacity` (see loopc_memory) of them. */
typedef struct loopc_call {
  uint32_t size, abi;         /* sizeof(loopc_call), LOOPC_ABI_VERSION */
  uint32_t lanes, rounds;     /* rounds: iterations to run (stage core); else 1 */
  const int32_t *token;       /* [lanes] token id */
  const int32_t *position;    /* [lanes] position in its sequence */
  const int32_t *sequence;    /* [lanes] index into records */
  const int32_t *slot;        /* [lanes] state bank slot */
  const int32_t *limit;       /* [lanes] iterations this lane may complete at most (T) */
  int32_t *iteration;         /* [lanes] in and out: iterations completed */
  uint8_t *exited;            /* [lanes] in and out: 1 once the exit test of the lane fired (also on a selecting exit) */
  const loopc_sequence *records;
  void *out;                  /* stage head: [lanes, vocab] f32 logits, row stride out_stride */
  uint64_t out_stride;        /* bytes */
  uint32_t flags;             /* LOOPC_CALL_* */
  uint32_t reserved;
  uint64_t *profile;          /* of an artefact made with profiling: LOOPC_PROFILE_WORDS(phases of the stage) for each
                                 worker, sums of clock ticks (see below); others never look at it */
} loopc_call;
#define LOOPC_CALL_KEEP_RUNNING 1u /* an exit that fires is recorded in `exited` but the lane goes on (selecting exit) */

/* A worker's words of `profile`: 0 the clock when it was last read, 1 + 2 * i the ticks of phase i, 2 + 2 * i those of
 * waiting in the syncs before phase i; phases in the order of the program. Whole cache lines, so that workers share none. */
#define LOOPC_PROFILE_WORDS(phases) ((1u + 2u * (phases) + 15u) / 16u * 16u)

/* The call of a training step: its stage reads the call as the first member of this. Lanes are all tokens of whole
 * sequences, positions from 0; `out` has the loss of each lane. */
typedef struct loopc_step {
  loopc_call call;
  const void *const *given; /* by number of the metadata's "given": [lanes][elements] of 4 bytes each */
  float *const *gradient;   /* by number of the metadata's "gradients": row-major, added to */
} loopc_step;

/* Parameters, one pointer for each (parameter, table): data[index + table]; see metadata "params". */
typedef struct loopc_params {
  const void *const *data;
  uint64_t count;
} loopc_params;

/* Memory that outlives a call. */
typedef struct loopc_memory {
  uint8_t *bank;          /* state bank: slot s at bank + s * bank_row_bytes; field offsets are constants */
  uint64_t bank_row_bytes;
  loopc_pool pools[LOOPC_MAX_POOLS];
  uint8_t *arena;         /* row buffers shared by the workers: buffer b of row r at arena + capacity * offset_b + r * row_bytes_b */
  uint64_t capacity;      /* rows the arena has room for */
  uint8_t *const *scratch; /* [workers] private memory of each worker, size from metadata "scratch_bytes" of the stage
                              + capacity * "scratch_row_bytes" */
} loopc_memory;

/* The workers of a call. `sync` returns when every worker has arrived; nonzero: the team is poisoned, return at once.
 * `claim` deals out items 0 .. items - 1 of worker `owner`, each once to whoever asks first, and gives `items` when all are
 * taken. A worker goes through rising turns (from 1 in each call), through the same ones as all others, and leaves a turn
 * only when all items of all owners are taken. */
typedef struct loopc_team {
  uint32_t workers;
  uint32_t reserved;
  int32_t (*sync)(struct loopc_team *team, uint32_t worker, uint32_t id);
  uint32_t (*claim)(struct loopc_team *team, uint32_t owner, uint32_t turn, uint32_t items);
} loopc_team;

/* One worker's body of a stage. Returns 0, or the value that made it stop. */
typedef int32_t (*loopc_stage)(const loopc_call *, const loopc_params *, const loopc_memory *, loopc_team *,
                               uint32_t worker);

/* The only exported symbol of an artefact: `const loopc_artifact loopc_artifact_v1`. */
typedef struct loopc_stage_entry {
  const char *name; /* prelude, core, coda, head, ... (Stage of ModelInfo.h) */
  loopc_stage run;
} loopc_stage_entry;
typedef struct loopc_artifact {
  uint32_t size, abi, schema, pack;
  const char *metadata; /* JSON, not zero-terminated */
  uint64_t metadata_bytes;
  uint64_t metadata_hash; /* XXH3 64 of the metadata */
  const loopc_stage_entry *stages;
  uint32_t stage_count;
  uint32_t reserved;
} loopc_artifact;

#ifdef __cplusplus
}
#endif
#endif
