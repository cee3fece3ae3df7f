// The models of the repository against published configurations and checkpoints.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "SemaFixture.h"

#include <gtest/gtest.h>

#include <set>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::test;

namespace {

struct Published {
  const char *model, *config, *weights;
};

class PublishedCheckpoint : public testing::TestWithParam<Published> {};

TEST_P(PublishedCheckpoint, HasExactlyTheWeightsOfTheSpec) {
  const Published &p = GetParam();
  const nlohmann::json config = readJson(std::string("test/conformance/") + p.config);
  Checked checked(readFile(std::string("models/") + p.model), &config);
  ASSERT_TRUE(checked.program) << checked.messages();
  EXPECT_EQ(checked.messages(), "");
  EXPECT_TRUE(checkExecutable(*checked.program, checked.diagnostics)) << checked.messages();
  const std::vector<FileTensor> file = tensorsOf(std::string("test/conformance/") + p.weights);
  ASSERT_FALSE(file.empty());
  const CheckpointBinding binding = bindCheckpoint(*checked.program, *checked.program->checkpoint(""), file);
  for (const std::string &error : binding.errors)
    ADD_FAILURE() << error;
  for (uint32_t index : binding.fileIndex)
    EXPECT_NE(index, kNone);
  for (uint32_t w = 0; w < checked.program->weights.size(); ++w)
    EXPECT_TRUE(checkpointPattern(*checked.program, *checked.program->checkpoint(""), w)) << checked.program->weights[w].path;
}

INSTANTIATE_TEST_SUITE_P(All, PublishedCheckpoint,
                         testing::Values(Published{"ouro.loop", "ouro/config.json", "ouro/weights.safetensors"},
                                         Published{"parcae.loop", "parcae/config.json", "parcae/weights.safetensors"},
                                         Published{"parcae.loop", "parcae/parcae-linear/config.json", "parcae/parcae-linear/weights.safetensors"},
                                         Published{"parcae.loop", "parcae/parcae-add/config.json", "parcae/parcae-add/weights.safetensors"},
                                         Published{"isodepth.loop", "isodepth/config.json", "isodepth/weights.safetensors"},
                                         Published{"isodepth.loop", "isodepth/isodepth-additive/config.json", "isodepth/isodepth-additive/weights.safetensors"},
                                         Published{"isodepth.loop", "isodepth/isodepth-hyperconnect/config.json", "isodepth/isodepth-hyperconnect/weights.safetensors"},
                                         Published{"isodepth.loop", "isodepth/isodepth-passthrough/config.json", "isodepth/isodepth-passthrough/weights.safetensors"},
                                         Published{"saunshi.loop", "saunshi/config.json", "saunshi/weights.safetensors"},
                                         Published{"saunshi.loop", "saunshi/middle.config.json", "saunshi/middle.weights.safetensors"},
                                         Published{"nanbeige.loop", "nanbeige/config.json", "nanbeige/weights.safetensors"},
                                         Published{"hyperloop.loop", "hyperloop/config.json", "hyperloop/weights.safetensors"},
                                         Published{"relaxed.loop", "relaxed/config.json", "relaxed/weights.safetensors"},
                                         Published{"loopformer.loop", "loopformer/config.json", "loopformer/weights.safetensors"},
                                         Published{"loopformer.loop", "loopformer/tmlt.config.json", "loopformer/tmlt.weights.safetensors"},
                                         Published{"loopformer.loop", "loopformer/base_loop.config.json", "loopformer/base_loop.weights.safetensors"},
                                         Published{"flt.loop", "flt/config.json", "flt/weights.safetensors"},
                                         Published{"flt.loop", "flt/mla.config.json", "flt/mla.weights.safetensors"},
                                         Published{"looped_moe.loop", "looped_moe/config.json", "looped_moe/weights.safetensors"},
                                         Published{"openmythos.loop", "openmythos/config.json", "openmythos/weights.safetensors"},
                                         Published{"openmythos.loop", "openmythos/mla.config.json", "openmythos/mla.weights.safetensors"},
                                         Published{"dreamer.loop", "dreamer/config.json", "dreamer/weights.safetensors"},
                                         Published{"ut_act.loop", "ut_act/config.json", "ut_act/weights.safetensors"}),
                         [](const auto &info) {
                           std::string name = std::string(info.param.weights);
                           for (char &c : name)
                             c = isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

class RealShapes : public testing::TestWithParam<const char *> {};

TEST_P(RealShapes, EveryPublishedSizeMatches) {
  const std::string model = GetParam();
  nlohmann::json sizes = readJson("test/conformance/" + model + "/real_shapes.json");
  if (sizes.contains("models"))
    sizes = nlohmann::json(sizes["models"]);
  unsigned seen = 0;
  for (auto size = sizes.begin(); size != sizes.end(); ++size) {
    if (!size.value().is_object() || !size.value().contains("config") || !size.value().contains("parameters"))
      continue;
    const nlohmann::json config = size.value()["config"];
    Checked checked(readFile("models/" + model + ".loop"), &config);
    ASSERT_TRUE(checked.program) << size.key() << "\n" << checked.messages();
    std::vector<FileTensor> file;
    for (auto item = size.value()["parameters"].begin(); item != size.value()["parameters"].end(); ++item)
      file.push_back({item.key(), item.value().get<std::vector<int64_t>>()});
    const CheckpointBinding binding = bindCheckpoint(*checked.program, *checked.program->checkpoint(""), file);
    for (const std::string &error : binding.errors)
      ADD_FAILURE() << size.key() << ": " << error;
    ++seen;
  }
  EXPECT_GE(seen, 1u);
}

INSTANTIATE_TEST_SUITE_P(All, RealShapes, testing::Values("flt", "hyperloop", "isodepth", "loopformer", "nanbeige", "ouro", "parcae", "saunshi", "ut_act"));

TEST(SmolLM2, NamesOfBothFormats) {
  const nlohmann::json config = readJson("test/conformance/smollm2/config.json");
  for (const char *model : {"models/smollm2.loop", "models/smollm2_looped.loop"}) {
    Checked checked(readFile(model), &config);
    ASSERT_TRUE(checked.program) << checked.messages();
    EXPECT_TRUE(checkExecutable(*checked.program, checked.diagnostics)) << checked.messages();
    const Program &program = *checked.program;
    std::set<std::string> published, gguf;
    for (const CheckpointTensor &tensor : program.checkpoint("")->tensors)
      published.insert(tensor.name);
    ASSERT_NE(program.checkpoint("gguf"), nullptr);
    for (const CheckpointTensor &tensor : program.checkpoint("gguf")->tensors) {
      gguf.insert(tensor.name);
      const bool rotated = tensor.name.find("attn_q.") != std::string::npos || tensor.name.find("attn_k.") != std::string::npos;
      EXPECT_EQ(tensor.rows == RowOrder::AdjacentPairs, rotated) << tensor.name;
      EXPECT_EQ(tensor.rowBlock, rotated ? 64 : 0) << tensor.name;
    }
    EXPECT_EQ(published.size(), 272u);
    EXPECT_EQ(gguf.size(), 272u);
    EXPECT_TRUE(published.count("model.layers.29.mlp.down_proj.weight"));
    EXPECT_TRUE(gguf.count("blk.29.ffn_down.weight"));
    EXPECT_TRUE(gguf.count("token_embd.weight"));
    EXPECT_FALSE(published.count("lm_head.weight"));
  }
}

TEST(SmolLM2, ReadsTheKeysOfAGguf) {
  const nlohmann::json metadata = {{"general.architecture", "llama"}, {"llama.block_count", 30}, {"llama.embedding_length", 576}, {"llama.feed_forward_length", 1536},
                                   {"llama.attention.head_count", 9}, {"llama.attention.head_count_kv", 3}, {"llama.rope.freq_base", 100000.0},
                                   {"llama.attention.layer_norm_rms_epsilon", 9.999999747378752e-06}, {"llama.rope.dimension_count", 64},
                                   {"llama.context_length", 8192}, {"llama.vocab_size", 49152}, {"tokenizer.ggml.model", "gpt2"}};
  Checked checked(readFile("models/smollm2.loop"), &metadata);
  ASSERT_TRUE(checked.program) << checked.messages();
  for (const ProgramConfigEntry &entry : checked.program->config)
    if (entry.name == "layers")
      EXPECT_EQ(entry.origin, "llama.block_count");
}

TEST(SmolLM2, TheLoopedSpanSharesTheLayersOfTheModel) {
  Checked checked(readFile("models/smollm2_looped.loop"));
  ASSERT_TRUE(checked.program) << checked.messages();
  const ProgramWeight *gate = checked.weight("model.layers.{0}.mlp.gate_proj.weight");
  ASSERT_NE(gate, nullptr);
  ASSERT_EQ(gate->tables.size(), 1u);
  EXPECT_EQ(gate->tables[0].size, 30);
  EXPECT_EQ(checked.program->sites.size(), 3u) << "prelude, span and coda keep their keys apart";
  ASSERT_EQ(checked.program->loops.size(), 1u);
  EXPECT_EQ(checked.program->loops[0].states, std::vector<std::string>{"h"});
}

TEST(Parcae, TablesAndGatesExistByParity) {
  const nlohmann::json config = readJson("test/conformance/parcae/config.json");
  Checked checked(readFile("models/parcae.loop"), &config);
  ASSERT_TRUE(checked.program) << checked.messages();
  const ProgramWeight *gate = checked.weight("transformer.core_block.{0}.attn.ve_gate.weight");
  ASSERT_NE(gate, nullptr);
  EXPECT_EQ(gate->present, (std::vector<bool>{false, true}));
  std::set<std::string> names;
  for (const CheckpointTensor &tensor : checked.program->checkpoint("")->tensors)
    names.insert(tensor.name);
  EXPECT_TRUE(names.count("value_embeds.1.weight"));
  EXPECT_TRUE(names.count("value_embeds.3.weight"));
  EXPECT_TRUE(names.count("value_embeds.5.weight"));
}

TEST(Ouro, OptionsAndExit) {
  const nlohmann::json config = readJson("test/conformance/ouro/config.json");
  Checked checked(readFile("models/ouro.loop"), &config);
  ASSERT_TRUE(checked.program) << checked.messages();
  ASSERT_EQ(checked.program->options.size(), 2u);
  EXPECT_EQ(checked.program->options[0].name, "loops");
  EXPECT_TRUE(checked.program->options[0].isCount);
  EXPECT_EQ(checked.program->options[0].initial, 4);
  EXPECT_FALSE(checked.program->options[1].isCount);
  ASSERT_EQ(checked.program->loops.size(), 1u);
  EXPECT_TRUE(checked.program->loops[0].hasExit);
  EXPECT_EQ(checked.program->loops[0].kv.map, "depth_indexed");
  EXPECT_EQ(checked.program->outputs, (std::vector<std::string>{"logits", "expected"}));
}

TEST(Checkpoint, MissingUnexpectedAndMisshapenTensorsAreNamed) {
  const nlohmann::json config = readJson("test/conformance/ouro/config.json");
  Checked checked(readFile("models/ouro.loop"), &config);
  ASSERT_TRUE(checked.program);
  std::vector<FileTensor> file = tensorsOf("test/conformance/ouro/weights.safetensors");
  for (FileTensor &tensor : file) {
    if (tensor.name == "model.norm.weight")
      tensor.name = "model.norn.weight";
    if (tensor.name == "lm_head.weight")
      tensor.shape = {32, 97};
  }
  const CheckpointBinding binding = bindCheckpoint(*checked.program, *checked.program->checkpoint(""), file);
  std::string all;
  for (const std::string &error : binding.errors)
    all += error + "\n";
  EXPECT_EQ(binding.errors.size(), 3u) << all;
  EXPECT_NE(all.find("expected shape [97, 32] for the tensor `lm_head.weight`, but got [32, 97]"), std::string::npos) << all;
  EXPECT_NE(all.find("the tensor `model.norm.weight` of shape [32] is missing"), std::string::npos) << all;
  EXPECT_NE(all.find("`model.norn.weight` of shape [32] belongs to no weight; the nearest name is `model.norm.weight`"), std::string::npos) << all;
}

TEST(Models, FitOnAPage) {
  for (const char *model : {"ouro", "parcae", "smollm2", "smollm2_looped", "saunshi"}) {
    const std::string text = readFile(std::string("models/") + model + ".loop");
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 120) << model;
    EXPECT_EQ(text[0], '#') << model;
  }
}

} // namespace
