//! Lists of things: as a table, as ids alone, or as `--format` has it. Source: Docker reference, "Format the output".

use serde_json::{Map, Value};

use super::shared::print_table;
use super::template::Template;
use runtime::error::Result;

/// A kind of list: the fields of a row and their headings.
#[derive(Debug)]
pub(super) struct Listing {
    /// All fields that a template may use, each with its heading.
    pub(super) fields: &'static [(&'static str, &'static str)],
    /// Those of the table, without a format.
    pub(super) columns: Vec<&'static str>,
}

/// One thing, by fields.
pub(super) type Row = Map<String, Value>;

impl Listing {
    /// Prints rows. `format` is a template for each, `table TEMPLATE` with headings, or `json`.
    ///
    /// # Errors
    /// The template is wrong, or asks for a field that there is not.
    pub(super) fn print(&self, rows: &[Row], format: Option<&str>) -> Result<()> {
        match format {
            None | Some("table") => {
                let columns: Vec<String> =
                    self.columns.iter().map(|name| format!("{{{{.{name}}}}}")).collect();
                self.table(rows, &columns.join("\t"))
            }
            Some("json") => {
                for row in rows {
                    output::document(&Value::Object(row.clone()).to_string());
                }
                Ok(())
            }
            Some(format) => match format.strip_prefix("table ") {
                Some(template) => self.table(rows, &unescaped(template)),
                None => {
                    let template = Template::new(&unescaped(format))?;
                    for row in rows {
                        output::value(&template.fill(&Value::Object(row.clone()))?);
                    }
                    Ok(())
                }
            },
        }
    }

    fn table(&self, rows: &[Row], template: &str) -> Result<()> {
        let template = Template::new(template)?;
        let headings = self.fields.iter().map(|(field, heading)| ((*field).to_owned(), (*heading).into()));
        let headings = template.fill(&Value::Object(headings.collect()))?;
        let headings: Vec<&str> = headings.split('\t').collect();
        let cells = rows.iter().map(|row| {
            // A tab in a value is no further column.
            let escaped = row.iter().map(|(field, value)| match value {
                Value::String(text) => (field.clone(), output::text::word(text).into()),
                other => (field.clone(), other.clone()),
            });
            let line = template.fill(&Value::Object(escaped.collect()))?;
            Ok(line.split('\t').map(str::to_owned).collect())
        });
        print_table(&headings, &cells.collect::<Result<Vec<Vec<String>>>>()?);
        Ok(())
    }
}

/// A shell passes `\t` and `\n` on as they are written.
fn unescaped(template: &str) -> String {
    template.replace("\\t", "\t").replace("\\n", "\n")
}
