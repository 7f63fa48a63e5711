//! Health checks, from the words of the command line. Source: Docker reference, docker run --health-cmd.

use clap::Args;
use serde_json::{Map, Value, json};

use runtime::error::{Error, Result};

/// How a container's health is asked for, instead of the image's way.
#[derive(Debug, Args)]
pub(crate) struct HealthOptions {
    /// Command that ends with 0 while it is healthy
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two runs of the command, such as 30s
    #[arg(long, value_name = "TIME")]
    health_interval: Option<String>,
    /// Longest time that the command may take
    #[arg(long, value_name = "TIME")]
    health_timeout: Option<String>,
    /// Time that it needs to start: failures do not count until then
    #[arg(long, value_name = "TIME")]
    health_start_period: Option<String>,
    /// Time between two runs meanwhile
    #[arg(long, value_name = "TIME")]
    health_start_interval: Option<String>,
    /// Failures one after the other that make it unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<u32>,
    /// Do not ask, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

impl HealthOptions {
    /// The fields that were given, as the image specification has them.
    pub(super) fn value(&self) -> Result<Option<Value>> {
        let mut fields = Map::new();
        if let Some(command) = &self.health_cmd {
            fields.insert("Test".into(), json!(["CMD-SHELL", command]));
        }
        for (option, key, text) in [
            ("--health-interval", "Interval", &self.health_interval),
            ("--health-timeout", "Timeout", &self.health_timeout),
            ("--health-start-period", "StartPeriod", &self.health_start_period),
            ("--health-start-interval", "StartInterval", &self.health_start_interval),
        ] {
            let Some(text) = text else { continue };
            let nanoseconds = engine::duration::parse(text)
                .filter(|time| time.is_zero() || time.as_millis() > 0)
                .and_then(|time| u64::try_from(time.as_nanos()).ok())
                .ok_or_else(|| {
                    Error::new(format!("{option} {text}: invalid time")).remedy("such as 500ms, 30s or 1m30s")
                })?;
            fields.insert(key.into(), nanoseconds.into());
        }
        if let Some(retries) = self.health_retries {
            fields.insert("Retries".into(), retries.into());
        }
        if self.no_healthcheck {
            if !fields.is_empty() {
                return Err(Error::new("--no-healthcheck conflicts with --health-* options"));
            }
            fields.insert("Test".into(), json!(["NONE"]));
        }
        Ok((!fields.is_empty()).then_some(Value::Object(fields)))
    }
}
