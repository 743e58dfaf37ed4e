//! Classification of syntax tree nodes.

use tree_sitter::Node;

/// The class of a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class<'t> {
    /// An import, or the declaration of a package or of a module in another file.
    Import,
    /// A function, with its body if there is one.
    Function(Option<Node<'t>>),
    /// A class, a trait, a module, or anything else with functions in its body.
    Container(Node<'t>),
    /// A type or value whose body has no functions.
    Data(Node<'t>),
    /// A declaration without a body.
    Item,
    /// A comment.
    Comment,
    /// An attribute or a decorator in front of the item it applies to.
    Attribute,
    /// A wrapper that is looked through: a preprocessor conditional, a syntax error.
    Transparent,
    /// Anything else.
    Statement,
}

/// Maximum levels of wrappers to look through.
const WRAPPERS: usize = 8;

/// The class of `node`.
pub(super) fn class(node: Node<'_>) -> Class<'_> {
    let node = unwrapped(node);
    let body = node.child_by_field_name("body");
    match node.kind() {
        "use_declaration"
        | "extern_crate_declaration"
        | "import_statement"
        | "import_from_statement"
        | "future_import_statement"
        | "import_declaration"
        | "package_clause"
        | "package_declaration"
        | "preproc_include"
        | "using_declaration" => Class::Import,
        "mod_item" if body.is_none() => Class::Import,
        "function_item"
        | "function_signature_item"
        | "function_definition"
        | "function_declaration"
        | "generator_function_declaration"
        | "function_signature"
        | "method_definition"
        | "method_signature"
        | "abstract_method_signature"
        | "method_declaration"
        | "constructor_declaration"
        | "compact_constructor_declaration"
        | "macro_definition" => Class::Function(body),
        "static_initializer" | "class_static_block" => {
            Class::Function(body.or_else(|| child_of_kind(node, &["block"])))
        }
        // These are searched for members; without functions they are data.
        "impl_item"
        | "trait_item"
        | "mod_item"
        | "class_definition"
        | "class_declaration"
        | "abstract_class_declaration"
        | "class"
        | "interface_declaration"
        | "enum_declaration"
        | "record_declaration"
        | "annotation_type_declaration"
        | "internal_module"
        | "module"
        | "namespace_definition"
        | "class_specifier"
        | "struct_specifier"
        | "union_specifier"
        | "struct_item"
        | "enum_item"
        | "union_item"
        | "enum_specifier"
        | "foreign_mod_item" => match body.or_else(|| child_of_kind(node, &["declaration_list"])) {
            Some(body) if has_functions(body) => Class::Container(body),
            Some(body) => Class::Data(body),
            None => Class::Item,
        },
        "type_definition"
        | "type_declaration"
        | "type_alias_declaration"
        | "const_declaration"
        | "var_declaration"
        | "declaration" => inner_body(node).map_or(Class::Item, Class::Data),
        "const_item"
        | "static_item"
        | "type_item"
        | "associated_type"
        | "field_declaration"
        | "constant_declaration"
        | "preproc_def"
        | "preproc_function_def"
        | "property_signature"
        | "alias_declaration"
        | "macro_invocation" => Class::Item,
        "line_comment" | "block_comment" | "comment" => Class::Comment,
        "attribute_item" | "decorator" | "access_specifier" => Class::Attribute,
        "preproc_if"
        | "preproc_ifdef"
        | "preproc_else"
        | "preproc_elif"
        | "preproc_elifdef"
        | "linkage_specification"
        | "declaration_list"
        | "enum_body_declarations"
        | "ERROR" => Class::Transparent,
        "if_statement" | "try_statement" | "with_statement" | "else_clause" | "elif_clause"
        | "except_clause" | "finally_clause" => branch(node),
        "lexical_declaration"
        | "variable_declaration"
        | "expression_statement"
        | "field_definition"
        | "public_field_definition"
        | "pair"
        | "export_statement" => valued(node),
        _ => Class::Statement,
    }
}

/// The definition inside decorators, `export` and template parameters.
fn unwrapped(node: Node<'_>) -> Node<'_> {
    let mut node = node;
    for _ in 0..WRAPPERS {
        let inner = match node.kind() {
            "decorated_definition" => node.child_by_field_name("definition"),
            "export_statement" => node.child_by_field_name("declaration"),
            "template_declaration" => {
                node.named_child_count().checked_sub(1).and_then(|last| node.named_child(last as u32))
            }
            "ambient_declaration" => node.named_child(0),
            "expression_statement" => child_of_kind(node, &["internal_module"]),
            // A struct defined in a declaration with or without a variable.
            "declaration" | "field_declaration" if node.child_by_field_name("declarator").is_none() => {
                node.child_by_field_name("type").filter(|t| t.kind().ends_with("_specifier"))
            }
            _ => None,
        };
        match inner {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node
}

fn child_of_kind<'t>(node: Node<'t>, kinds: &[&str]) -> Option<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).find(|child| kinds.contains(&child.kind()))
}

/// Whether this body contains functions, or items with functions.
fn has_functions(body: Node<'_>) -> bool {
    let mut cursor = body.walk();
    body.named_children(&mut cursor).any(|child| match child.kind() {
        // Decided by kind: whether a nested class has functions does not matter here.
        "class_definition" | "class_declaration" | "mod_item" | "impl_item" | "trait_item" => true,
        "enum_body_declarations" | "ERROR" | "preproc_if" | "preproc_ifdef" => {
            let mut cursor = child.walk();
            child.named_children(&mut cursor).any(|c| is_function(c))
        }
        _ => is_function(child),
    })
}

/// Whether this is a function of its own, as far as can be told without looking into its body.
fn is_function(node: Node<'_>) -> bool {
    let node = unwrapped(node);
    match node.kind() {
        "pair"
        | "lexical_declaration"
        | "variable_declaration"
        | "expression_statement"
        | "field_definition"
        | "public_field_definition"
        | "export_statement" => value(node)
            .is_some_and(|v| matches!(v.kind(), "function_expression" | "arrow_function" | "class")),
        "class_definition" | "class_declaration" => true,
        // The prototype of a member. A prototype of a function elsewhere is only a declaration.
        "field_declaration" => false,
        "if_statement" | "try_statement" | "with_statement" => false,
        kind if kind.ends_with("_clause") => false,
        "impl_item" | "trait_item" | "mod_item" | "namespace_definition" | "class_specifier" => true,
        "struct_specifier" | "enum_declaration" | "interface_declaration" | "record_declaration" => false,
        _ => matches!(class(node), Class::Function(_)),
    }
}

/// The body of a type or of a group of constants.
fn inner_body(node: Node<'_>) -> Option<Node<'_>> {
    let mut node = node;
    for _ in 0..WRAPPERS {
        if node.kind().ends_with("_list") || matches!(node.kind(), "object_type" | "initializer_list") {
            return Some(node);
        }
        let next = ["body", "type", "value", "declarator"].iter().find_map(|f| node.child_by_field_name(f));
        node = next.or_else(|| {
            child_of_kind(node, &["type_spec", "field_declaration_list", "var_spec_list", "method_spec_list"])
        })?;
    }
    None
}

/// A container if the conditional has functions in it; otherwise a statement.
fn branch(node: Node<'_>) -> Class<'_> {
    let body = ["consequence", "body"].iter().find_map(|field| node.child_by_field_name(field));
    let body = body.or_else(|| child_of_kind(node, &["block"]));
    let mut cursor = node.walk();
    let anywhere = node.named_children(&mut cursor).any(|child| {
        let block =
            if child.kind().ends_with("_clause") { child_of_kind(child, &["block"]) } else { Some(child) };
        block.is_some_and(|b| b.kind() == "block" && has_functions(b))
    });
    match body {
        Some(body) if body.kind() == "block" && (anywhere || node.kind().ends_with("_clause")) => {
            Class::Container(body)
        }
        _ => Class::Statement,
    }
}

/// The value that a declaration or statement assigns to a name, or the call that it makes.
fn value(node: Node<'_>) -> Option<Node<'_>> {
    let mut node = node;
    for _ in 0..WRAPPERS {
        node = match node.kind() {
            "lexical_declaration" | "variable_declaration" => child_of_kind(node, &["variable_declarator"])?,
            "expression_statement"
            | "parenthesized_expression"
            | "unary_expression"
            | "await_expression"
            | "as_expression"
            | "satisfies_expression" => node.named_child(0)?,
            "assignment_expression" => node.child_by_field_name("right")?,
            "variable_declarator"
            | "field_definition"
            | "public_field_definition"
            | "pair"
            | "export_statement" => node.child_by_field_name("value")?,
            _ => return Some(node),
        }
    }
    None
}

/// The class of a JavaScript declaration or statement, based on its value.
fn valued(node: Node<'_>) -> Class<'_> {
    let declares = !matches!(node.kind(), "expression_statement");
    let plain = if declares { Class::Item } else { Class::Statement };
    let Some(value) = value(node) else { return plain };
    match value.kind() {
        "function_expression" | "arrow_function" | "generator_function" => {
            Class::Function(value.child_by_field_name("body"))
        }
        "class" => value.child_by_field_name("body").map_or(plain, |body| {
            if has_functions(body) { Class::Container(body) } else { Class::Data(body) }
        }),
        "object" if has_functions(value) => Class::Container(value),
        "object" | "array" => Class::Data(value),
        "call_expression" => call(value).map_or(plain, Class::Container),
        _ => plain,
    }
}

/// The body of a function that is passed to a call or called in place, if it contains functions:
/// `describe('x', () => {...})`, `(function () {...})()`.
fn call(node: Node<'_>) -> Option<Node<'_>> {
    let mut callee = node.child_by_field_name("function")?;
    while callee.kind() == "parenthesized_expression" {
        callee = callee.named_child(0)?;
    }
    let function = |n: &Node<'_>| matches!(n.kind(), "function_expression" | "arrow_function");
    let found = if function(&callee) {
        Some(callee)
    } else {
        let arguments = node.child_by_field_name("arguments")?;
        let mut cursor = arguments.walk();
        arguments.named_children(&mut cursor).filter(function).last()
    };
    let body = found?.child_by_field_name("body")?;
    if body.kind() != "statement_block" {
        return None;
    }
    let mut cursor = body.walk();
    // Functions passed to the calls of a test suite count as its members.
    let member = |child: Node<'_>| {
        is_function(child)
            || value(child)
                .and_then(|v| v.child_by_field_name("arguments"))
                .is_some_and(|a| child_of_kind(a, &["function_expression", "arrow_function"]).is_some())
    };
    body.named_children(&mut cursor).any(member).then_some(body)
}
