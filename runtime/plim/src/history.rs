//! `plim history`.

use clap::Args;

use super::listing::{Listing, Row};
use super::shared::{show_age, show_bytes_with};
use engine::containers::Engine;
use runtime::error::Result;

#[derive(Debug, Args)]
pub(super) struct History {
    /// Whole commands and ids
    #[arg(long)]
    no_trunc: bool,
    /// Ids alone
    #[arg(long, short)]
    quiet: bool,
    /// false: times as RFC 3339 and sizes in bytes
    #[arg(long, short = 'H', num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    human: Option<bool>,
    /// json, or a template for each such as '{{.CreatedBy}}', or 'table {{.ID}}\t{{.Size}}'
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Name or id
    image: String,
}

/// What a template of `history` may use.
const STEPS: &[(&str, &str)] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

impl History {
    pub(super) fn run(&self, engine: &Engine) -> Result<()> {
        let found = engine.store.find(&self.image)?;
        let mut layers = found.config.rootfs.diff_ids.iter().zip(&found.manifest.layers);
        let human = self.human != Some(false);
        let mut rows: Vec<Row> = Vec::new();
        let steps = found.config.history.len();
        for (number, step) in found.config.history.iter().enumerate() {
            let layer = if step.empty_layer { None } else { layers.next() };
            let size = match layer {
                Some((diff_id, layer)) => engine.store.layer_size(diff_id, layer)?,
                None => 0,
            };
            let mut command = step.created_by.clone().unwrap_or_default();
            if !self.no_trunc && command.chars().count() > 45 {
                command = command.chars().take(44).chain(['…']).collect();
            }
            let created = step.created.clone().unwrap_or_default();
            let id = match (number + 1 == steps, self.no_trunc) {
                (false, _) => "<missing>",
                (true, true) => found.id().as_str(),
                (true, false) => found.id().short(),
            };
            let since = if human { show_age(&created) } else { created.clone() };
            let fields = [
                ("Comment", step.comment.clone().unwrap_or_default()),
                ("CreatedAt", created),
                ("CreatedBy", command),
                ("CreatedSince", since),
                ("ID", id.to_owned()),
                ("Size", if human { show_bytes_with(size, 3) } else { size.to_string() }),
            ];
            rows.push(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect());
        }
        rows.reverse();
        if self.quiet {
            rows.iter().filter_map(|row| row["ID"].as_str()).for_each(|id| output::showln!("{id}"));
            return Ok(());
        }
        let columns = vec!["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];
        Listing { fields: STEPS, columns }.print(&rows, self.format.as_deref())
    }
}
