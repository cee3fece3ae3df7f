/* A hand-written artefact: embedding, a loop without attention, a readout. The test patches metadata_hash and seals it.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 */
#include "loopc/runtime/abi.h"
#include <stddef.h>

#if defined(__aarch64__)
#define TRIPLE "aarch64-unknown-linux-gnu"
#else
#define TRIPLE "x86_64-unknown-linux-gnu"
#endif

static const char metadata[] =
    "{\"model\":\"tiny\",\"compiler\":\"test\",\"hash\":\"0\",\"target\":{\"triple\":\"" TRIPLE "\",\"cpu\":\"generic\","
    "\"features\":[]},\"dtype\":\"f32\",\"kv_dtype\":\"f32\",\"vocab\":5,\"context\":0,\"config\":{},"
    "\"count\":{\"name\":\"loops\",\"default\":2,\"min\":1,\"max\":4},\"knobs\":[],\"exit\":null,"
    "\"bank\":{\"row_bytes\":64,\"fields\":[{\"name\":\"h\",\"offset\":0,\"shape\":[4],\"dtype\":\"f32\","
    "\"observed\":true}]},\"draws\":[],\"pools\":[],\"stages\":["
    "{\"name\":\"prelude\",\"arena_row_bytes\":0,\"scratch_bytes\":0},"
    "{\"name\":\"core\",\"arena_row_bytes\":4,\"scratch_bytes\":64,\"scratch_row_bytes\":64,\"syncs\":2},"
    "{\"name\":\"head\",\"arena_row_bytes\":0,\"scratch_bytes\":0}],"
    "\"params\":[{\"name\":\"embed\",\"index\":0,\"count\":1,\"kind\":\"rows\",\"dtype\":\"f32\",\"rows\":5,\"cols\":4,"
    "\"sources\":[{\"name\":\"embed.weight\",\"rows\":5}]},"
    "{\"name\":\"head\",\"index\":1,\"count\":1,\"kind\":\"panel\",\"dtype\":\"f32\",\"rows\":5,\"cols\":4,"
    "\"sources\":[{\"name\":\"head.weight\",\"rows\":5}]}],\"remarks\":[]}";

static float *state(const loopc_call *c, const loopc_memory *m, uint32_t lane) {
  return (float *)(m->bank + (uint64_t)c->slot[lane] * m->bank_row_bytes);
}

static int32_t prelude(const loopc_call *c, const loopc_params *p, const loopc_memory *m, loopc_team *t, uint32_t w) {
  for (uint32_t i = w; i < c->lanes; i += t->workers)
    for (int k = 0; k < 4; ++k)
      state(c, m, i)[k] = ((const float *)p->data[0])[c->token[i] * 4 + k];
  return 0;
}

/* Every lane adds the sum of all states of the call, taken before any of them changes. */
static int32_t core(const loopc_call *c, const loopc_params *p, const loopc_memory *m, loopc_team *t, uint32_t w) {
  float *sums = (float *)m->arena;
  for (uint32_t r = 0; r < c->rounds; ++r) {
    for (uint32_t i = w; i < c->lanes; i += t->workers)
      sums[i] = state(c, m, i)[0];
    if (t->sync(t, w, 2 * r))
      return -1;
    for (uint32_t i = w; i < c->lanes; i += t->workers) {
      float sum = 0;
      for (uint32_t j = 0; j < c->lanes; ++j)
        sum += sums[j];
      state(c, m, i)[1] = state(c, m, i)[1] * 0.5f + sum;
      state(c, m, i)[0] += 1;
      ++c->iteration[i];
    }
    if (t->sync(t, w, 2 * r + 1))
      return -1;
  }
  return 0;
}

static int32_t head(const loopc_call *c, const loopc_params *p, const loopc_memory *m, loopc_team *t, uint32_t w) {
  const float *panel = p->data[1];
  for (uint32_t i = w; i < c->lanes; i += t->workers) {
    float *out = (float *)((uint8_t *)c->out + (uint64_t)i * c->out_stride);
    for (int n = 0; n < 5; ++n) {
      out[n] = 0;
      for (int k = 0; k < 4; ++k)
        out[n] += panel[k * 32 + n] * state(c, m, i)[k];
    }
    if (c->token[i] == 4)
      return 9; /* a token this model cannot read out */
  }
  return 0;
}

static const loopc_stage_entry stages[] = {{"prelude", prelude}, {"core", core}, {"head", head}};

__attribute__((visibility("default"))) const loopc_artifact loopc_artifact_v1 = {
    sizeof(loopc_artifact), LOOPC_ABI_VERSION,   LOOPC_SCHEMA_VERSION, LOOPC_PACK_VERSION, metadata,
    sizeof metadata - 1,    0x1122334455667788u, stages,               3,                  0};
