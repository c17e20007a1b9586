//! The code blocks of a document.

/// One block.
pub(crate) struct Block {
    /// What stands behind the fence.
    pub(crate) kind: String,
    /// What is inside.
    pub(crate) text: String,
    /// Its fence's line, counted from 1.
    pub(crate) line: usize,
}

impl Block {
    /// Each command of a `console` block with the output that follows it.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = self.text.match_indices("$ ").map(|(at, _)| at);
        let starts: Vec<usize> = starts
            .filter(|at| *at == 0 || self.text[..*at].ends_with('\n'))
            .chain([self.text.len()])
            .collect();
        let parts: Vec<&str> = starts.windows(2).map(|w| &self.text[w[0]..w[1]]).collect();
        parts.into_iter().map(|part| {
            let (command, output) = part.split_once('\n').unwrap_or((part, ""));
            (&command[2..], output)
        })
    }
}

/// Every block of a document, in order.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block {
                    kind: kind.to_owned(),
                    text: String::new(),
                    line: index + 1,
                });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is never closed");
    blocks
}

/// The document with the text of each block as `change` says.
pub(crate) fn rewrite(document: &str, mut change: impl FnMut(&Block) -> Option<String>) -> String {
    let mut lines: Vec<String> = document.lines().map(str::to_owned).collect();
    let blocks = blocks(document);
    let changed: Vec<_> = blocks.iter().map(&mut change).collect();
    for (block, text) in blocks.iter().zip(changed).rev() {
        if let Some(text) = text {
            let inside = block.line..block.line + block.text.lines().count();
            lines.splice(inside, text.lines().map(str::to_owned));
        }
    }
    lines.join("\n") + "\n"
}

/// The anchor that a heading has on a page.
pub(crate) fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .replace(' ', "-")
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}
