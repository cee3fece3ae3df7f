// Symbolic sizes: the normal form that gives an axis its identity.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_SIZEEXPR_H
#define LOOPC_LIB_FRONTEND_SIZEEXPR_H

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace loopc::frontend {

/// An integer together with how it was written, as a sum of products of named sizes. `d / heads` and `2 * d - d` have
/// one form each, whatever the text; what is no polynomial (a remainder, a rounded quotient) becomes one opaque name.
class SizeExpr {
public:
  SizeExpr() = default;
  static SizeExpr constant(int64_t value);
  static SizeExpr named(const std::string &name);

  /// A stable text: equal sizes have equal texts. `d`, `4*d`, `d/heads`, `P+i`.
  std::string text() const;

  friend SizeExpr operator+(const SizeExpr &a, const SizeExpr &b);
  friend SizeExpr operator-(const SizeExpr &a, const SizeExpr &b);
  friend SizeExpr operator*(const SizeExpr &a, const SizeExpr &b);
  /// The quotient where it is one product per term; otherwise an opaque name.
  static SizeExpr divide(const SizeExpr &a, const SizeExpr &b);
  static SizeExpr opaque(const std::string &operation, const SizeExpr &a, const SizeExpr &b);

private:
  using Monomial = std::map<std::string, int>; // name -> exponent, never 0
  std::map<Monomial, int64_t> terms;           // coefficient, never 0
  static constexpr size_t maxTerms = 32;
  std::string wrapped() const;
};

} // namespace loopc::frontend

#endif
