// Text generation over the engine.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Generate.h"
#include <algorithm>
#include <chrono>

namespace loopc::rt {

namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// A request that has a sequence; closes it when it goes.
struct Running {
  Running(Engine &engine, const GenerateRequest &request, size_t index)
      : engine(engine), request(request), index(index), sampler(request.sampling), id(engine.open(request.sequence)) {}
  ~Running() { engine.close(id); }
  Running(const Running &) = delete;

  Engine &engine;
  const GenerateRequest &request;
  size_t index;
  Sampler sampler;
  SequenceId id;
};

/// Takes the logits of the last feed; true if the request goes on.
bool advance(Running &r, const FeedResult &fed, Generated &out, const OnToken &onToken, Clock::time_point start) {
  out.depths.insert(out.depths.end(), fed.depth.begin(), fed.depth.end());
  out.executed.insert(out.executed.end(), fed.executed.begin(), fed.executed.end());
  uint32_t position = fed.first + fed.count;
  int32_t token = r.sampler.sample(fed.row(fed.rows - 1), r.engine.tokens(r.id), position);
  if (out.tokens.empty())
    out.firstTokenSeconds = since(start);
  out.tokens.push_back(token);
  out.totalSeconds = since(start);
  const std::vector<int32_t> &stop = r.request.stop;
  if (onToken && !onToken(r.index, token))
    out.finish = Finish::Caller;
  else if (std::find(stop.begin(), stop.end(), token) != stop.end())
    out.finish = Finish::Stop;
  else if (out.tokens.size() >= r.request.maxTokens)
    out.finish = Finish::Length;
  else if (uint32_t context = r.engine.info().context; context && position >= context)
    out.finish = Finish::Context;
  else {
    r.engine.enqueue(r.id, {&token, 1});
    return true;
  }
  return false;
}

void fail(Generated &result, const Error &error) {
  result.finish = Finish::Failed;
  result.error = error.what();
}

} // namespace

std::vector<Generated> generate(Engine &engine, std::span<const GenerateRequest> requests,
                                const GenerateOptions &options) {
  Clock::time_point start = Clock::now();
  std::vector<Generated> out(requests.size());
  std::vector<std::unique_ptr<Running>> running;
  size_t next = 0, most = options.atOnce ? options.atOnce : engine.capacity();
  auto end = [&](size_t index) {
    if (options.onDone)
      options.onDone(index, out[index]);
  };
  while (next < requests.size() || !running.empty()) {
    while (next < requests.size() && running.size() < most) {
      const GenerateRequest &request = requests[next];
      if (request.maxTokens == 0) {
        end(next++);
        continue;
      }
      try {
        auto one = std::make_unique<Running>(engine, request, next);
        engine.enqueue(one->id, request.prompt, {.chunk = request.chunk});
        running.push_back(std::move(one));
      } catch (const Error &error) {
        fail(out[next], error);
        end(next);
      }
      ++next;
    }
    bool moved = engine.step();
    std::erase_if(running, [&](std::unique_ptr<Running> &r) {
      Generated &result = out[r->index];
      try {
        std::optional<FeedResult> fed = engine.take(r->id);
        if (!fed)
          return false;
        moved = true;
        if (advance(*r, *fed, result, options.onToken, start))
          return false;
      } catch (const Error &error) {
        moved = true;
        fail(result, error);
      }
      end(r->index);
      return true;
    });
    if (!moved && !running.empty())
      throw Error("", "generation", "a step that can be taken", "none: lanes of other sequences hold all slots");
  }
  return out;
}

Generated generate(Engine &engine, const GenerateRequest &request, const OnToken &onToken) {
  Generated result = std::move(generate(engine, {&request, 1}, {.onToken = onToken})[0]);
  if (result.finish == Finish::Failed)
    throw Error(result.error);
  return result;
}

} // namespace loopc::rt
