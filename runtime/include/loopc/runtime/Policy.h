// A K/V policy as data: planes written, planes read, and what older tokens must have done (runtime.md §2).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ModelInfo.h"
#include <cstdint>
#include <vector>

namespace loopc::rt {

/// What the entries of planes that an exited token never wrote become.
/// Skip: nothing, the token is not seen there. Zero: a key and a value of zeros that take part in the softmax.
/// LastIfHole: from the shallowest exit of the sequence on, every plane of every token becomes its last.
enum class Holes : uint8_t { Refuse, LastExited, AlwaysLast, Skip, Zero, LastIfHole };

/// The policy of one artefact at one loop count. Generated code follows *logical* planes: the step (iteration * steps +
/// layer-step), or 0 if it was compiled for one plane. A logical plane names the rows of *kept* plane kept[step]. So
/// every map is a table, and kernels know nothing of it.
struct Policy {
  int32_t loops = 0;          ///< T
  int32_t steps = 1;          ///< layer-steps of an iteration; 1 if the map counts iterations
  uint32_t logicalPlanes = 0; ///< planes of the row tables
  std::vector<uint32_t> kept; ///< [loops * steps] plane where older tokens find what a step has written
  uint32_t keptPlanes = 0;
  /// [loops] number of the first layer of the coda that takes the place of this iteration's rows; -1: none does. Then
  /// no two live tokens share planes (orders token and chunk).
  std::vector<int32_t> overwritten;
  /// Until a token is settled, each of its steps has rows of its own: with `order pass`, where the tokens given with it
  /// read them, and where the row that is kept is not the one written last.
  bool flight = false;
  bool pass = false; ///< `order pass`: settled when all tokens given with it have finished
  /// [loops] iterations an older token must have completed before a query at iteration d may read it: all of them
  /// (`finished`) where a plane is written again later and the loop may end early.
  std::vector<int32_t> need;
  Holes holes = Holes::Refuse;
  Keep keep = Keep::Last;
  static constexpr int32_t finished = -1;

  /// Logical plane that layer-step `l` of iteration `d` indexes.
  uint32_t logical(int32_t d, int32_t l = 0) const { return logicalPlanes == 1 ? 0 : uint32_t(d * steps + l); }
  /// Plane with rows of their own that step `s` writes.
  uint32_t written(int32_t s) const { return flight ? uint32_t(s) : kept[size_t(s)]; }
  uint32_t writtenPlanes() const { return flight ? logicalPlanes : keptPlanes; }
  /// The step whose row stands for step `s` of a token that has left after `done` iterations; -1: none does.
  int32_t source(int32_t s, int32_t done) const;
  /// max over d of need(d) - 1 - d; prefill of N tokens takes T + (N - 1) * lag iterations (runtime.md §0).
  int32_t lag() const;

  /// `leaving`: tokens may leave before iteration `loops`. `pass`: the order is `pass`. Throws Error naming policy, what
  /// is missing and the nearest legal choice where the combination has no meaning (runtime.md §6).
  static Policy make(const PolicyInfo &info, int32_t loops, bool leaving, bool pass = false);
};

} // namespace loopc::rt
