//! The code in the project's documents: blocks with their tags, and spans within the text.
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::program::root;

/// A page of the documentation.
#[derive(Debug)]
pub struct Document {
    /// Below the project's top folder.
    pub path: PathBuf,
    pub blocks: Vec<Block>,
    /// The text of each code span, in order.
    pub spans: Vec<String>,
    /// Lines with HTML that shows code, which nothing here would run.
    pub html_code: Vec<usize>,
}

/// A block of code.
#[derive(Debug)]
pub struct Block {
    /// The line of the page on which it begins.
    pub line: usize,
    /// What its fence says that it is; empty for an indented block too.
    pub tag: String,
    pub text: String,
}

/// README.md, CONTRIBUTING.md and every page below `docs`.
pub fn documents() -> Vec<Document> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CONTRIBUTING.md")];
    add_pages(Path::new("docs"), &mut paths);
    assert!(paths.len() > 10, "{paths:?}");
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            parse(path, &text)
        })
        .collect()
}

fn add_pages(folder: &Path, pages: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            add_pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// Reads a page.
pub fn parse(path: PathBuf, text: &str) -> Document {
    let mut document = Document { path, blocks: vec![], spans: vec![], html_code: vec![] };
    let mut open: Option<Block> = None;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let line = text[..range.start].matches('\n').count() + 1;
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let tag = match kind {
                    CodeBlockKind::Fenced(tag) => tag.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                open = Some(Block { line, tag, text: String::new() });
            }
            Event::End(TagEnd::CodeBlock) => document.blocks.extend(open.take()),
            Event::Text(part) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&part);
                }
            }
            Event::Code(span) => document.spans.push(span.to_string()),
            Event::Html(html) | Event::InlineHtml(html) => {
                let html = html.to_lowercase();
                if html.contains("<pre") || html.contains("<code") {
                    document.html_code.push(line);
                }
            }
            _ => {}
        }
    }
    document
}

#[test]
fn every_form_of_a_block_is_found() {
    let text = "```sh\na\n```\n\n~~~\nb\n~~~\n\n    c\n\n* list\n  ```sql\n  d\n  ```\n\n<pre>e</pre>\n\n\
                | x |\n|---|\n| `f \\| g` |\n";
    let document = parse(PathBuf::new(), text);
    let blocks: Vec<(usize, &str, &str)> = document
        .blocks
        .iter()
        .map(|block| (block.line, block.tag.as_str(), block.text.trim()))
        .collect();
    assert_eq!(blocks, [(1, "sh", "a"), (5, "", "b"), (9, "", "c"), (12, "sql", "d")]);
    assert_eq!(document.html_code, [16]);
    assert_eq!(document.spans, ["f | g"]);
}
