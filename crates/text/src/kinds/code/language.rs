//! The supported programming languages.

use tree_sitter::Language as Grammar;

/// A programming language with a grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// Shell scripts.
    Bash,
    /// C and its headers.
    C,
    /// C++.
    Cpp,
    /// Go.
    Go,
    /// Java.
    Java,
    /// JavaScript, with JSX.
    JavaScript,
    /// Python.
    Python,
    /// Rust.
    Rust,
    /// TypeScript.
    TypeScript,
    /// TypeScript with JSX.
    Tsx,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Bash,
        Self::C,
        Self::Cpp,
        Self::Go,
        Self::Java,
        Self::JavaScript,
        Self::Python,
        Self::Rust,
        Self::TypeScript,
        Self::Tsx,
    ];

    /// The language with this name or file extension, ignoring case.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "bash" | "sh" | "shell" | "zsh" | "ksh" => Self::Bash,
            "c" | "h" => Self::C,
            "cpp" | "c++" | "cc" | "cxx" | "hpp" | "hh" | "hxx" | "h++" | "cu" | "cuh" | "ino" => Self::Cpp,
            "go" | "golang" => Self::Go,
            "java" => Self::Java,
            "js" | "javascript" | "jsx" | "mjs" | "cjs" | "node" => Self::JavaScript,
            "py" | "python" | "python3" | "py3" | "pyi" | "pyw" => Self::Python,
            "rs" | "rust" => Self::Rust,
            "ts" | "typescript" | "mts" | "cts" => Self::TypeScript,
            "tsx" => Self::Tsx,
            _ => return None,
        })
    }

    /// The language of a file, based on the extension of its path.
    pub fn of_path(path: &str) -> Option<Self> {
        let name = path.trim().rsplit(['/', '\\']).next()?;
        let (stem, extension) = name.rsplit_once('.')?;
        let word = matches!(
            extension.to_ascii_lowercase().as_str(),
            "c++" | "h++" | "golang" | "javascript" | "node" | "python" | "rust" | "shell" | "typescript"
        );
        if stem.is_empty() || word { None } else { Self::named(extension) }
    }

    /// The marker that begins a line comment.
    pub fn comment(self) -> &'static str {
        match self {
            Self::Bash | Self::Python => "#",
            _ => "//",
        }
    }

    pub(super) fn grammar(self) -> Grammar {
        match self {
            Self::Bash => tree_sitter_bash::LANGUAGE,
            Self::C => tree_sitter_c::LANGUAGE,
            Self::Cpp => tree_sitter_cpp::LANGUAGE,
            Self::Go => tree_sitter_go::LANGUAGE,
            Self::Java => tree_sitter_java::LANGUAGE,
            Self::JavaScript => tree_sitter_javascript::LANGUAGE,
            Self::Python => tree_sitter_python::LANGUAGE,
            Self::Rust => tree_sitter_rust::LANGUAGE,
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX,
        }
        .into()
    }
}
