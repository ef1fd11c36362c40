//! A small scanner of Rust sources: documented functions and their modules, `mod` declarations, doc comments.
//!
//! It knows as much of the language as that needs: comments (nested ones too), strings of every kind, characters and
//! lifetimes, attributes, braces. What stands in a macro's braces is read like anything else, so tests in `proptest!`
//! blocks are seen. Names that a macro makes are not.

use super::list;

/// What one file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Functions whose doc comment begins with ids.
    pub functions: Vec<Function>,
    /// `mod name;` declarations.
    pub modules: Vec<Module>,
    /// Doc comments of anything that begin with ids.
    pub comments: Vec<Comment>,
}

/// A function whose doc comment begins with ids.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// The modules around it within the file.
    pub inline: Vec<String>,
    pub ids: Vec<String>,
    pub line: usize,
    /// Whether it has an attribute such as `#[test]` or `#[tokio::test]`.
    pub is_test: bool,
}

/// `mod name;`, perhaps with `#[path = "..."]`, perhaps within inline modules.
#[derive(Debug, PartialEq, Eq)]
pub struct Module {
    pub name: String,
    pub inline: Vec<String>,
    pub path: Option<String>,
}

/// A doc comment that begins with ids, from its first line to its last.
#[derive(Debug, PartialEq, Eq)]
pub struct Comment {
    pub ids: Vec<String>,
    pub first: usize,
    pub last: usize,
}

/// Reads a source text. Text that is no Rust gives less, never an error.
pub fn scan(text: &str) -> Scan {
    let tokens = Lexer { text, at: 0, line: 1 }.tokens();
    Parser {
        tokens: &tokens,
        scan: Scan::default(),
        scopes: Vec::new(),
        depth: 0,
        pending: Pending::default(),
    }
    .parse()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// The text of `///` or `/** */`, and its last line.
    OuterDoc(&'a str, usize),
    /// The text of `//!` or `/*! */`, and its last line.
    InnerDoc(&'a str, usize),
    Word(&'a str),
    /// What stands between a string's quotes, escapes as they are.
    Text(&'a str),
    Punct(u8),
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    /// All tokens, each with the line it begins in.
    fn tokens(mut self) -> Vec<(Token<'a>, usize)> {
        let mut tokens = Vec::new();
        while let Some(next) = self.peek(0) {
            let line = self.line;
            let token = match next {
                b'/' if self.peek(1) == Some(b'/') => self.line_comment(),
                b'/' if self.peek(1) == Some(b'*') => self.block_comment(),
                b'"' => Some(self.string()),
                b'\'' => self.quote(),
                _ if is_word(next) => Some(self.word()),
                _ => {
                    self.advance(1);
                    (!next.is_ascii_whitespace()).then_some(Token::Punct(next))
                }
            };
            tokens.extend(token.map(|token| (token, line)));
        }
        tokens
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// Moves on, counting lines. Bytes that may lie inside a character are passed one by one, never sliced at.
    fn advance(&mut self, count: usize) {
        let end = (self.at + count).min(self.text.len());
        self.line += self.text.as_bytes()[self.at..end].iter().filter(|byte| **byte == b'\n').count();
        self.at = end;
    }

    /// The text from `from` up to `to`; empty should that ever cut a character.
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or("")
    }

    fn line_comment(&mut self) -> Option<Token<'a>> {
        let rest = self.slice(self.at, self.text.len());
        let comment = &rest[..rest.find('\n').unwrap_or(rest.len())];
        let line = self.line;
        self.advance(comment.len());
        if let Some(text) = comment.strip_prefix("//!") {
            Some(Token::InnerDoc(text, line))
        } else {
            // Four slashes are a plain comment.
            let text = comment.strip_prefix("///").filter(|text| !text.starts_with('/'))?;
            Some(Token::OuterDoc(text, line))
        }
    }

    fn block_comment(&mut self) -> Option<Token<'a>> {
        let from = self.at;
        self.advance(2);
        let mut depth = 1;
        while depth > 0 {
            match (self.peek(0)?, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.advance(2);
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.advance(2);
                }
                _ => self.advance(1),
            }
        }
        let comment = self.slice(from, self.at.saturating_sub(2));
        if let Some(text) = comment.strip_prefix("/*!") {
            Some(Token::InnerDoc(text, self.line))
        } else {
            // `/***` and `/**/` are plain comments.
            let text =
                comment.strip_prefix("/**").filter(|text| !text.starts_with('*') && !text.is_empty())?;
            Some(Token::OuterDoc(text, self.line))
        }
    }

    fn string(&mut self) -> Token<'a> {
        self.advance(1);
        let from = self.at;
        while let Some(next) = self.peek(0) {
            match next {
                b'"' => break,
                b'\\' => self.advance(2),
                _ => self.advance(1),
            }
        }
        let text = self.slice(from, self.at);
        self.advance(1);
        Token::Text(text)
    }

    /// At the first `#` or the quote after `r`.
    fn raw_string(&mut self) -> Token<'a> {
        let mut hashes = 0;
        while self.peek(hashes) == Some(b'#') {
            hashes += 1;
        }
        self.advance(hashes + 1);
        let from = self.at;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = self.slice(from, self.text.len()).find(&end).unwrap_or(self.text.len() - from);
        self.advance(length + end.len());
        Token::Text(self.slice(from, from + length))
    }

    /// A character, or the quote of a lifetime.
    fn quote(&mut self) -> Option<Token<'a>> {
        let mut rest = self.slice(self.at + 1, self.text.len()).chars();
        let length = match rest.next() {
            Some('\\') => {
                // The escaped character itself may be a quote: `'\''`.
                self.advance(3);
                while self.peek(0).is_some_and(|next| next != b'\'' && next != b'\n') {
                    self.advance(1);
                }
                1
            }
            Some(one) if rest.next() == Some('\'') => 2 + one.len_utf8(),
            _ => 1,
        };
        self.advance(length);
        None
    }

    fn word(&mut self) -> Token<'a> {
        let from = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.advance(1);
        }
        let word = self.slice(from, self.at);
        match (word, self.peek(0)) {
            ("r" | "br" | "cr", Some(b'"')) => self.raw_string(),
            ("r" | "br" | "cr", Some(b'#')) => {
                let hashes =
                    self.slice(self.at, self.text.len()).bytes().take_while(|byte| *byte == b'#').count();
                if self.peek(hashes) == Some(b'"') {
                    self.raw_string()
                } else {
                    // A raw name (`r#type`): the name is what the binaries list.
                    self.advance(hashes);
                    self.word()
                }
            }
            ("b" | "c", Some(b'"')) => self.string(),
            _ => Token::Word(word),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// What was read before an item and belongs to it.
#[derive(Default)]
struct Pending {
    doc: String,
    first: usize,
    last: usize,
    is_test: bool,
    path: Option<String>,
}

struct Parser<'a> {
    tokens: &'a [(Token<'a>, usize)],
    scan: Scan,
    /// Inline modules that are open, with the depth of braces they stand in.
    scopes: Vec<(String, usize)>,
    depth: usize,
    pending: Pending,
}

impl<'a> Parser<'a> {
    fn parse(mut self) -> Scan {
        let mut at = 0;
        while let Some(&(token, line)) = self.tokens.get(at) {
            at += 1;
            match token {
                Token::OuterDoc(text, last) => self.doc(text, line, last),
                Token::InnerDoc(text, last) => {
                    // Consecutive lines are one comment; any other token ends it.
                    self.doc(text, line, last);
                    if !matches!(self.tokens.get(at), Some((Token::InnerDoc(..), _))) {
                        self.end_item();
                    }
                }
                Token::Punct(b'#') if self.punct(at) == Some(b'[') => at = self.attribute(at),
                Token::Punct(b'#') if self.punct(at) == Some(b'!') && self.punct(at + 1) == Some(b'[') => {
                    at = self.closing(at + 1);
                }
                Token::Word("fn") => at += self.function(at, line),
                Token::Word("mod") => at += self.module(at),
                Token::Punct(b'{') => {
                    self.end_item();
                    self.depth += 1;
                }
                Token::Punct(b'}') => {
                    self.end_item();
                    self.depth = self.depth.saturating_sub(1);
                    self.scopes.retain(|(_, depth)| *depth < self.depth);
                }
                // What may stand between an item's attributes and its keyword.
                Token::Word(
                    "pub" | "crate" | "super" | "self" | "in" | "default" | "const" | "async" | "unsafe"
                    | "extern",
                )
                | Token::Punct(b'(' | b')')
                | Token::Text(_) => {}
                Token::Word(_) | Token::Punct(_) => self.end_item(),
            }
        }
        self.end_item();
        self.scan
    }

    fn word(&self, at: usize) -> Option<&'a str> {
        match self.tokens.get(at) {
            Some((Token::Word(word), _)) => Some(word),
            _ => None,
        }
    }

    fn punct(&self, at: usize) -> Option<u8> {
        match self.tokens.get(at) {
            Some((Token::Punct(punct), _)) => Some(*punct),
            _ => None,
        }
    }

    fn inline(&self) -> Vec<String> {
        self.scopes.iter().map(|(name, _)| name.clone()).collect()
    }

    fn doc(&mut self, text: &str, first: usize, last: usize) {
        if self.pending.doc.is_empty() {
            self.pending.first = first;
        }
        self.pending.last = last;
        self.pending.doc.push_str(text);
        self.pending.doc.push('\n');
    }

    /// The ids that the pending doc comment begins with; a block comment's lines may begin with a star.
    fn ids(&self) -> Vec<String> {
        list::leading_ids(
            self.pending.doc.trim_start_matches(|next: char| next.is_whitespace() || next == '*'),
        )
    }

    /// Ends what is pending: it belongs to no later item.
    fn end_item(&mut self) {
        let ids = self.ids();
        let pending = std::mem::take(&mut self.pending);
        if !ids.is_empty() {
            self.scan.comments.push(Comment { ids, first: pending.first, last: pending.last });
        }
    }

    /// After `fn`; gives the number of tokens read.
    fn function(&mut self, at: usize, line: usize) -> usize {
        // Without a name it is a function pointer's type, or a macro's variable.
        let Some(name) = self.word(at) else {
            self.end_item();
            return 0;
        };
        let ids = self.ids();
        if !ids.is_empty() {
            let (inline, is_test) = (self.inline(), self.pending.is_test);
            self.scan.functions.push(Function { name: name.to_string(), inline, ids, line, is_test });
        }
        self.end_item();
        1
    }

    /// After `mod`; gives the number of tokens read.
    fn module(&mut self, at: usize) -> usize {
        let path = self.pending.path.take();
        self.end_item();
        let Some(name) = self.word(at) else { return 0 };
        match self.punct(at + 1) {
            Some(b';') => {
                let inline = self.inline();
                self.scan.modules.push(Module { name: name.to_string(), inline, path });
                2
            }
            Some(b'{') => {
                self.scopes.push((name.to_string(), self.depth));
                self.depth += 1;
                2
            }
            _ => 1,
        }
    }

    /// An attribute, from its `[`; gives where it ends.
    fn attribute(&mut self, open: usize) -> usize {
        let end = self.closing(open);
        let mut at = open + 1;
        let mut last = "";
        while let Some(word) = self.word(at) {
            last = word;
            at += 1;
            while self.punct(at) == Some(b':') {
                at += 1;
            }
        }
        match (last, self.punct(at), self.tokens.get(at + 1)) {
            ("test", _, _) => self.pending.is_test = true,
            ("path", Some(b'='), Some((Token::Text(path), _))) => self.pending.path = Some(path.to_string()),
            _ => {}
        }
        end
    }

    /// Where what begins with this `[` has ended.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0;
        for at in open..self.tokens.len() {
            match self.punct(at) {
                Some(b'[') => depth += 1,
                Some(b']') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }
}

#[cfg(test)]
mod tests;
