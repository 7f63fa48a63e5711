//! `plimsoll list` and `plimsoll explain`

use clap::Args;

use kit::check::Body;
use kit::need::Need;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Parts of ids; all checks if none is given
    filter: Vec<String>,
}

impl List {
    pub(super) fn run(&self) -> Result<u8, String> {
        let checks = catalogue::select(&self.filter).map_err(|error| error.to_string())?;
        let width = checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
        for check in checks {
            output::outln!("{:width$}  {}", check.id, check.claim);
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The check's id
    id: String,
}

impl Explain {
    pub(super) fn run(&self) -> Result<u8, String> {
        let check = catalogue::find(&self.id)
            .ok_or_else(|| format!("no check has the id '{}'; `plimsoll list` shows them all", self.id))?;
        let needs: Vec<String> = check.all_needs().map(Need::describe).collect();
        let faults: Vec<&str> = check.faults.iter().map(|fault| fault.name).collect();
        output::outln!("{}\n", check.id);
        output::outln!("claim      {}", check.claim);
        output::outln!("source     {}", check.source);
        output::outln!(
            "looks at   {}",
            match check.body {
                Body::Kernel(_) => "the kernel, in namespaces of its own",
                Body::Runtime(_) => "containers of each subject",
                Body::Engine(_) => "containers and images of each engine",
            }
        );
        output::outln!("needs      {}", needs.join(", "));
        output::outln!("fault      {}", faults.join(", "));
        if !check.tolerance.is_empty() {
            output::outln!("tolerance  {}", check.tolerance);
        }
        output::outln!("run it     plimsoll check --verbose {}", check.id);
        output::outln!("prove it   plimsoll prove {}", check.id);
        Ok(0)
    }
}
