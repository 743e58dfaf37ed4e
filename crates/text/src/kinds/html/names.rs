//! The names of HTML elements, and common class names and identifiers of page frames.

/// All HTML elements, sorted.
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "article",
    "aside",
    "audio",
    "b",
    "base",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "canvas",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "data",
    "datalist",
    "dd",
    "del",
    "details",
    "dfn",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "fieldset",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "frame",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hgroup",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "kbd",
    "label",
    "legend",
    "li",
    "link",
    "main",
    "map",
    "mark",
    "menu",
    "meta",
    "meter",
    "nav",
    "noframes",
    "noscript",
    "object",
    "ol",
    "optgroup",
    "option",
    "output",
    "p",
    "param",
    "picture",
    "pre",
    "progress",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "script",
    "search",
    "section",
    "select",
    "slot",
    "small",
    "source",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "template",
    "textarea",
    "tfoot",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "track",
    "tt",
    "u",
    "ul",
    "var",
    "video",
    "wbr",
];

/// The purpose of an element, according to its class, identifier or role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// Part of the page's frame.
    Frame,
    /// A note on the text, even though it is set aside from it.
    Note,
}

/// The element called `name`; empty if HTML has no such element.
pub(super) fn known(name: &[u8]) -> &'static str {
    ELEMENTS.binary_search_by(|known| known.as_bytes().cmp(name)).map_or("", |at| ELEMENTS[at])
}

/// Elements without an end tag.
pub(super) fn is_void(name: &str) -> bool {
    matches!(name, "area" | "base" | "br" | "col" | "embed" | "frame" | "hr" | "img" | "input")
        || matches!(name, "link" | "meta" | "param" | "source" | "track" | "wbr")
}

/// Elements that begin and end a line.
pub(super) fn is_block(name: &str) -> bool {
    matches!(name, "address" | "article" | "aside" | "blockquote" | "body" | "caption" | "center" | "dd")
        || matches!(name, "details" | "dialog" | "dir" | "div" | "dl" | "dt" | "fieldset" | "figcaption")
        || matches!(name, "figure" | "footer" | "form" | "frameset" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6")
        || matches!(name, "head" | "header" | "hgroup" | "hr" | "html" | "legend" | "li" | "main" | "menu")
        || matches!(
            name,
            "nav" | "ol" | "optgroup" | "option" | "p" | "pre" | "search" | "section" | "summary"
        )
        || matches!(name, "table" | "tbody" | "td" | "tfoot" | "th" | "thead" | "title" | "tr" | "ul")
}

/// Elements whose content is not visible text.
pub(super) fn is_machinery(name: &str) -> bool {
    matches!(name, "script" | "style" | "noscript" | "noframes" | "template" | "svg" | "iframe" | "canvas")
        || matches!(name, "head" | "select" | "datalist" | "object" | "textarea" | "map")
}

/// Elements that make up the frame of a page.
pub(super) fn is_frame(name: &str) -> bool {
    matches!(name, "nav" | "header" | "footer" | "aside" | "search" | "menu" | "dialog")
}

/// Maximum bytes of text, excluding links, in a frame element.
pub(super) fn longest_frame(name: &str) -> usize {
    match name {
        "nav" | "menu" | "search" => usize::MAX,
        "header" => 300,
        "aside" => 600,
        _ => 1500,
    }
}

/// Elements that can be part of the frame if their class or identifier says so.
pub(super) fn is_container(name: &str) -> bool {
    matches!(name, "div" | "section" | "ul" | "ol" | "dl" | "table" | "td" | "form" | "p" | "fieldset")
}

/// The level of a heading element.
pub(super) fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        b"title" => Some(1),
        _ => None,
    }
}

const FRAMES: &[&str] = &[
    "ad",
    "ads",
    "advert",
    "advertisement",
    "adverts",
    "banner",
    "breadcrumb",
    "breadcrumbs",
    "consent",
    "cookie",
    "cookies",
    "crumbs",
    "footer",
    "gdpr",
    "menu",
    "menubar",
    "modal",
    "nav",
    "navbar",
    "navheader",
    "navfooter",
    "navigation",
    "navlinks",
    "newsletter",
    "pager",
    "pagination",
    "popup",
    "promo",
    "related",
    "share",
    "sharing",
    "sidebar",
    "skip",
    "skiplink",
    "social",
    "sphinxsidebar",
    "sponsor",
    "sponsors",
    "subscribe",
    "toolbar",
    "topbar",
    "toolbox",
];

const NOTES: &[&str] =
    &["admonition", "callout", "caution", "footnote", "important", "note", "tip", "warning"];

/// The purpose that a class or an identifier suggests.
pub(super) fn named(value: &str) -> Option<Named> {
    let end = value.floor_char_boundary(300);
    value[..end].split_whitespace().filter_map(one).max()
}

fn one(name: &str) -> Option<Named> {
    let lower = split_camel(name);
    let parts: Vec<&str> = lower.split(['-', '_', ':']).filter(|part| !part.is_empty()).collect();
    let (first, last) = (*parts.first()?, *parts.last()?);
    // The name describes what the page has, not what this element is.
    if matches!(first, "has" | "with" | "no" | "not" | "is" | "show" | "hide" | "without" | "js") {
        return None;
    }
    if NOTES.contains(&last) || NOTES.contains(&first) {
        return Some(Named::Note);
    }
    let leads = matches!(first, "cookie" | "cookies" | "consent" | "gdpr" | "breadcrumb" | "breadcrumbs");
    // Treats `menu-bar` as `menubar`.
    let bar = last == "bar"
        && matches!(parts.iter().rev().nth(1), Some(&("menu" | "nav" | "side" | "tool" | "top")));
    (leads || bar || FRAMES.contains(&last)).then_some(Named::Frame)
}

/// Converts `siteFooter` to `site-footer`.
fn split_camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut lower = false;
    for c in name.chars() {
        if c.is_uppercase() && lower {
            out.push('-');
        }
        lower = c.is_lowercase();
        out.extend(c.to_lowercase());
    }
    out
}

/// The purpose that a role suggests.
pub(super) fn role(value: &str) -> Option<Named> {
    match value {
        "navigation" | "banner" | "contentinfo" | "complementary" | "search" | "menu" | "menubar"
        | "toolbar" | "dialog" | "alertdialog" => Some(Named::Frame),
        "note" | "doc-footnote" => Some(Named::Note),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_sorted() {
        assert!(ELEMENTS.is_sorted());
        assert_eq!((known(b"p"), known(b"my-card")), ("p", ""));
    }

    #[test]
    fn frame_names_are_recognised() {
        for frame in
            ["nav", "site-footer", "siteFooter", "cookie-banner big", "x main_menu", "breadcrumbs-list"]
        {
            assert_eq!(named(frame), Some(Named::Frame), "{frame}");
        }
        for other in ["has-sidebar", "content", "canvas", "shareholders", "navy", "sidebar-open", "", "--"] {
            assert_eq!(named(other), None, "{other}");
        }
        assert_eq!(named("admonition note"), Some(Named::Note));
    }
}
