//! Tables of a Markdown document, as far as the project's documents use them.

/// A table.
pub struct Table {
    /// Line of its head, from 1 on.
    pub line: usize,
    /// The heading that it stands under.
    pub section: String,
    /// What its columns are headed.
    pub head: Vec<String>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A row of a table.
pub struct Row {
    /// From 1 on.
    pub line: usize,
    /// Its cells, without blanks around them.
    pub cells: Vec<String>,
}

impl Table {
    /// The columns that are headed by one of these.
    pub fn columns(&self, heads: &[&str]) -> impl Iterator<Item = usize> {
        let is_one = |head: &String| heads.contains(&head.as_str());
        (0..self.head.len()).filter(move |column| self.head.get(*column).is_some_and(is_one))
    }

    /// The column that is headed so.
    pub fn column(&self, head: &str) -> Option<usize> {
        self.head.iter().position(|it| it == head)
    }

    /// The cell of a row in the column that is headed so.
    pub fn cell<'r>(&self, row: &'r Row, head: &str) -> Option<&'r str> {
        row.cells.get(self.column(head)?).map(String::as_str)
    }
}

impl Row {
    /// What it is called by: its first cell.
    pub fn name(&self) -> &str {
        self.cells.first().map_or("", String::as_str)
    }
}

/// The tables of a document.
pub fn of(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut section = String::new();
    let mut lines = outside_of_code(text).peekable();
    // Whether the last line belongs to a table.
    let mut inside = false;
    while let Some((line, content)) = lines.next() {
        if let Some(heading) = content.strip_prefix('#') {
            section = heading.trim_start_matches('#').trim().to_owned();
        }
        let Some(cells) = cells(content) else {
            inside = false;
            continue;
        };
        if !inside {
            if lines.next_if(|(_, next)| is_rule(next)).is_some() {
                tables.push(Table {
                    line,
                    section: section.clone(),
                    head: cells,
                    rows: Vec::new(),
                });
                inside = true;
            }
        } else if let Some(table) = tables.last_mut() {
            table.rows.push(Row { line, cells });
        }
    }
    tables
}

/// Lines that are no block of code, with their numbers from 1 on.
pub fn outside_of_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// What stands in backticks.
pub fn code(text: &str) -> impl Iterator<Item = &str> {
    // Every other part; the last is one only if it is closed.
    let marks = text.matches('`').count();
    text.split('`').skip(1).step_by(2).take(marks / 2)
}

/// The cells of a line, if it is one of a table.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?;
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let mut cells = vec![String::new()];
    let mut is_escaped = false;
    for character in inner.chars() {
        if character == '|' && !is_escaped {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(character);
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    Some(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

/// Whether a line stands between a table's head and its rows.
fn is_rule(line: &str) -> bool {
    let is_dashes = |cell: &String| {
        let dashes = cell.trim_matches(':');
        !dashes.is_empty() && dashes.bytes().all(|byte| byte == b'-')
    };
    cells(line).is_some_and(|cells| cells.iter().all(is_dashes))
}
