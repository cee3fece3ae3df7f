// Symbolic sizes: sums of products with integer exponents.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "SizeExpr.h"

#include <utility>

namespace loopc::frontend {

SizeExpr SizeExpr::constant(int64_t value) {
  SizeExpr result;
  if (value)
    result.terms[{}] = value;
  return result;
}

SizeExpr SizeExpr::named(const std::string &name) {
  SizeExpr result;
  result.terms[{{name, 1}}] = 1;
  return result;
}

std::string SizeExpr::text() const {
  if (terms.empty())
    return "0";
  std::string result;
  for (const auto &[monomial, coefficient] : terms) {
    std::string above, below;
    for (const auto &[name, exponent] : monomial)
      for (int k = 0; k < (exponent < 0 ? -exponent : exponent); ++k) {
        std::string &side = exponent > 0 ? above : below;
        side += (side.empty() ? "" : exponent > 0 ? "*" : "/") + name;
      }
    const bool negative = coefficient < 0;
    const std::string magnitude = std::to_string(coefficient).substr(negative ? 1 : 0);
    if (above.empty())
      above = magnitude;
    else if (magnitude != "1")
      above = magnitude + "*" + above;
    if (!below.empty())
      above += "/" + below;
    result += negative ? "-" : result.empty() ? "" : "+";
    result += above;
  }
  return result;
}

std::string SizeExpr::wrapped() const {
  const bool atom = terms.size() == 1 && terms.begin()->second == 1 && terms.begin()->first.size() <= 1;
  return atom ? text() : "(" + text() + ")";
}

SizeExpr operator+(const SizeExpr &a, const SizeExpr &b) {
  SizeExpr result = a;
  for (const auto &[monomial, coefficient] : b.terms) {
    int64_t sum = 0;
    if (__builtin_add_overflow(result.terms[monomial], coefficient, &sum))
      return SizeExpr::opaque("+", a, b);
    if (sum)
      result.terms[monomial] = sum;
    else
      result.terms.erase(monomial);
  }
  return result;
}

SizeExpr operator-(const SizeExpr &a, const SizeExpr &b) { return a + SizeExpr::constant(-1) * b; }

SizeExpr operator*(const SizeExpr &a, const SizeExpr &b) {
  if (a.terms.size() * b.terms.size() > SizeExpr::maxTerms)
    return SizeExpr::opaque("*", a, b);
  SizeExpr result;
  for (const auto &[left, x] : a.terms)
    for (const auto &[right, y] : b.terms) {
      SizeExpr::Monomial product = left;
      for (const auto &[name, exponent] : right)
        if ((product[name] += exponent) == 0)
          product.erase(name);
      int64_t coefficient = 0;
      if (__builtin_mul_overflow(x, y, &coefficient))
        return SizeExpr::opaque("*", a, b);
      SizeExpr term;
      term.terms[std::move(product)] = coefficient;
      result = result + term;
    }
  return result;
}

SizeExpr SizeExpr::divide(const SizeExpr &a, const SizeExpr &b) {
  if (b.terms.size() != 1)
    return opaque("/", a, b);
  const auto &[divisor, factor] = *b.terms.begin();
  SizeExpr result;
  for (const auto &[monomial, coefficient] : a.terms) {
    if (coefficient % factor)
      return opaque("/", a, b);
    Monomial quotient = monomial;
    for (const auto &[name, exponent] : divisor)
      if ((quotient[name] -= exponent) == 0)
        quotient.erase(name);
    result.terms[std::move(quotient)] = coefficient / factor;
  }
  return result;
}

SizeExpr SizeExpr::opaque(const std::string &operation, const SizeExpr &a, const SizeExpr &b) {
  std::string name = "(" + a.wrapped() + " " + operation + " " + b.wrapped() + ")";
  if (name.size() > 200)
    name = "(size#" + std::to_string(std::hash<std::string>{}(name)) + ")";
  return named(name);
}

} // namespace loopc::frontend
