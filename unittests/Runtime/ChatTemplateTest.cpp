// Chat templates against another implementation, and their refusals.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/ChatTemplate.h"
#include "Bytes.h"
#include <nlohmann/json.hpp>

using namespace loopc::rt;
using namespace loopc::rt::testing;
using nlohmann::ordered_json;

namespace {

// test/data/chat/make-cases.py made the cases with another implementation; null means that it refuses.
TEST(ChatTemplate, CasesOfAnotherImplementation) {
  ordered_json file = ordered_json::parse(readAll(LOOPC_SOURCE_DIR "/test/data/chat/cases.json"));
  for (const ordered_json &item : file["cases"])
    for (size_t i = 0; i < file["variables"].size(); ++i) {
      auto render = [&] {
        return ChatTemplate::parse(item["template"].get<std::string>()).render(file["variables"][i].dump());
      };
      if (item["outputs"][i].is_null())
        EXPECT_THROW(render(), Error) << item["template"];
      else
        EXPECT_EQ(render(), item["outputs"][i].get<std::string>()) << item["template"];
    }
}

TEST(ChatTemplate, Apply) {
  auto chat = ChatTemplate::parse("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n"
                                  "{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}");
  ChatMessage messages[] = {{"system", "Be brief."}, {"user", "Hi"}};
  EXPECT_EQ(chat.apply(messages, true, "<s>", "</s>"), "<s>system: Be brief.</s>\nuser: Hi</s>\nassistant:");
  EXPECT_EQ(chat.apply(messages, false), "system: Be brief.\nuser: Hi\n");
}

struct Refusal {
  std::string source;
  const char *message;
};

TEST(ChatTemplate, RefusalsAreLocated) {
  const Refusal cases[] = {
      {"a\n {% macro f() %}{% endmacro %}",
       "t: line 2, column 5: expected one of the statements if, for, set, break, continue, generation, but got 'macro'"},
      {"{{ x|nothing }}", nullptr},
      {"{{ raise_exception('only user') }}",
       "t: line 1, column 4: the template refuses this conversation: only user"},
      {"{{ 1 + 'a' }}",
       "t: line 1, column 6: expected two numbers, strings or lists around '+', but got an integer and a string"},
      {"{{ 'a' * 3 }}", "t: line 1, column 8: expected two numbers around '*', but got a string and an integer"},
      {"{{ x.y.z }}", "t: line 1, column 5: expected a value before '.y', but got an undefined one"},
      {"{{ [1] }}", "t: line 1, column 1: expected a value with a text (use tojson for others), but got a list"},
      {"{{ 'É'|lower }}", "t: line 1, column 7: expected ASCII text for lower, but got 'É'"},
      {"{% if x %}", "t: line 1, column 11: expected '{% endif %}', but got the end of the template"},
      {"{% break %}", "t: line 1, column 4: expected a loop around 'break', but got none"},
      {"{{ 9223372036854775807 + 1 }}", "t: line 1, column 24: expected an integer of 64 bits, but got a larger one"},
      {"{{ -9223372036854775807 - 2 }}", "t: line 1, column 25: expected an integer of 64 bits, but got a larger one"},
      {"{{ 99999999999999999999 }}",
       "t: line 1, column 4: expected an integer below 2^63, but got '99999999999999999999'"},
      {"{{ 1 % 0 }}", "t: line 1, column 6: expected a divisor other than 0, but got 0"},
      {"{% for i in range(100000000000) %}{% endfor %}", nullptr},
      {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", nullptr},
      {"{% set s = namespace(x='0123456789') %}{% for i in range(40) %}{% set s.x = s.x + s.x %}{% endfor %}", nullptr},
      {"{% set n = namespace() %}{% set n.n = n %}{{ n|tojson }}",
       "t: expected values nested at most 100 deep, but got more"},
      {"{{ " + std::string(100000, '(') + "1", nullptr},
      {"{{ " + std::string(100000, '-') + "1 }}", nullptr},
      {"{{ " + std::string(100000, '[') + " }}", nullptr},
      {"{{ a", "t: line 1, column 1: expected '}}' after '{{', but got the end of the template"},
      {"{{ \xff }}", "t: byte 3: expected UTF-8 text, but got '\\xff'"},
      {"{{ ! }}", "t: line 1, column 4: expected a token of the template language, but got '!'"},
  };
  for (const Refusal &c : cases) {
    std::string message = messageOf([&] { ChatTemplate::parse(c.source, "t").render("{}"); });
    if (c.message)
      EXPECT_EQ(message, c.message) << c.source;
    else
      EXPECT_EQ(message.substr(0, 8), "t: line ") << message;
  }
}

TEST(ChatTemplate, LongChainsNeedNoDeepStack) {
  std::string any = "{{ a", all = "{% if a";
  for (int i = 0; i < 100000; ++i)
    any += " or a";
  EXPECT_EQ(messageOf([&] { ChatTemplate::parse(any + " }}", "t").render("{}"); }).substr(0, 8), "t: line ");
  std::string flat;
  for (int i = 0; i < 20000; ++i)
    flat += "{{ 1 }}";
  EXPECT_EQ(ChatTemplate::parse(flat).render("{}"), std::string(20000, '1'));
}

TEST(ChatTemplate, EdgesOfSlices) {
  auto render = [](const std::string &expression) { return ChatTemplate::parse("{{ " + expression + " }}").render("{}"); };
  EXPECT_EQ(render("'abc'[-9223372036854775807:9223372036854775807]"), "abc");
  EXPECT_EQ(render("'abc'[::9223372036854775807]"), "a");
  EXPECT_EQ(render("'abc'[::-9223372036854775807]"), "c");
  EXPECT_EQ(render("'abc'[9223372036854775807]"), "");
  EXPECT_EQ(render("'abc'[-4]"), "");
  EXPECT_EQ(render("'abc'[-1]"), "c");
  EXPECT_EQ(render("''[0]"), "");
}

} // namespace
