//! The kinds of text on what real programs wrote.

mod code;
mod common;
mod diff;
mod html;
mod json;
mod pages;
mod scripts;
mod turns;
mod xml;
