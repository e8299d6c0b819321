//! GitHub's `Link` header (RFC 8288): which neighbours a page has.

/// How many bytes of the header are read. GitHub sends about 400.
pub const MAX_LENGTH: usize = 16 * 1024;

/// The neighbours that a page has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Relations {
    /// Whether there is a next page.
    pub next: bool,
    /// Whether there is a previous page.
    pub prev: bool,
}

impl Relations {
    /// Reads GitHub's `Link`, in which several fields may be joined by commas. Only the relation types count, because
    /// GitHub's targets have another form (`/user/<id>/gists?…`) than the request. A syntax error ends the parsing;
    /// the relations before it count.
    pub fn parse(header: &str) -> Self {
        let mut cut = header.len().min(MAX_LENGTH);
        while !header.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut rest = header.get(..cut).unwrap_or_default();
        let mut relations = Self::default();
        while let Some(behind) = relations.read_value(rest) {
            rest = behind;
        }
        relations
    }

    /// Reads one link value, `<target>; name=value; …`, and returns the text after it.
    fn read_value<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let text = text.trim_start_matches(|c: char| c == ',' || is_space(c));
        let (_target, mut rest) = text.strip_prefix('<')?.split_once('>')?;
        let mut seen_rel = false;
        loop {
            rest = rest.trim_start_matches(is_space);
            let Some(parameter) = rest.strip_prefix(';') else { return Some(rest) };
            let parameter = parameter.trim_start_matches(is_space);
            let end = parameter.find(|c: char| matches!(c, '=' | ';' | ',') || is_space(c));
            let (name, behind) = parameter.split_at(end.unwrap_or(parameter.len()));
            rest = behind.trim_start_matches(is_space);
            let Some(value) = rest.strip_prefix('=') else { continue };
            let (value, behind) = token_or_quoted(value.trim_start_matches(is_space))?;
            rest = behind;
            // Of several `rel` parameters in one link value, the first counts (RFC 8288, 3.3).
            if name.eq_ignore_ascii_case("rel") && !seen_rel {
                seen_rel = true;
                for relation in value.split_ascii_whitespace() {
                    self.next |= relation.eq_ignore_ascii_case("next");
                    self.prev |=
                        relation.eq_ignore_ascii_case("prev") || relation.eq_ignore_ascii_case("previous");
                }
            }
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// A parameter's value, and the text after it. Escapes are kept: no relation type has any.
fn token_or_quoted(text: &str) -> Option<(&str, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| matches!(c, ';' | ',') || is_space(c));
        return Some(text.split_at(end.unwrap_or(text.len())));
    };
    let mut escaped = false;
    let end = quoted.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((quoted.get(..end)?, quoted.get(end + 1..)?))
}

#[cfg(test)]
mod tests;
