// Hcl: the syntax of HCL2 as Packer templates are written in it: bodies, blocks and expressions.
//
// Native syntax of the HCL specification: heredocs, templates with `${}` and `%{}`, operators, conditionals, `for`,
// splats, calls. Nothing is evaluated here.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "packer/value.h"

namespace kiln::packer {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    literal,     // `value`
    text,        // parts, one after the other as one string
    name,        // `name`: the first word of a traversal
    attribute,   // parts[0].name
    index,       // parts[0][parts[1]]
    splat,       // for each of parts[0]: parts[1], in which kind `item` stands for it
    item,        // see splat
    call,        // name(parts...), the last one spread when `spread`
    list,        // [parts...]
    object,      // parts: key, value, key, value..
    for_list,    // parts: of, value, condition or null; name is the value's, second the key's or empty
    for_object,  // parts: of, value, condition or null, key; grouped when `spread`
    for_text,    // parts: of, body; "%{for}"
    condition,   // parts[0] ? parts[1] : parts[2]
    binary,      // parts[0] name parts[1]
    unary,       // name parts[0]
  };
  Kind kind = Kind::literal;
  Place place{};
  Value value{};
  std::string name{};
  std::string second{};
  bool spread = false;
  std::vector<ExpressionPtr> parts{};
};

struct Block;

struct Attribute {
  std::string name;
  Place place;
  ExpressionPtr expression;
};

// Attributes and blocks each in the order of the file.
struct Body {
  std::vector<Attribute> attributes;
  std::vector<Block> blocks;  // not complete here, so it is given no value here
  const Attribute* find(const std::string& name) const;
};

struct Block {
  std::string type;
  std::vector<std::string> labels;
  Place place;
  Body body;
};

// Throws Error(usage) that quotes the line. What is returned refers to `source`.
Body read_hcl(const spec::Source& source);
// The file that `templatefile` renders.
ExpressionPtr read_hcl_template(const spec::Source& source);
// One expression and nothing else: how `-var name=value` gives lists and objects.
ExpressionPtr read_hcl_expression(const spec::Source& source);

}  // namespace kiln::packer
