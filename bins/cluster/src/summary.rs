//! Summary for people, shown once all members are ready.

use std::fmt::Write;
use std::path::Path;

use natter_common::ids::ReplicaId;
use natter_common::messages::Role;

use crate::broker::Broker;
use crate::log_folder::LogFolder;
use crate::members::Member;
use crate::notices::{counted, shell_word};

/// A few lines: the members, the place of the logs, and ways to look inside.
pub(crate) fn summary(broker: &Broker, members: &[Member], logs: &LogFolder, pages: &[&str]) -> String {
    let of = |role| members.iter().filter(move |member| member.role() == role);
    let frontends: Vec<&str> = members.iter().filter_map(Member::frontend_id).map(ReplicaId::as_str).collect();
    let replicas: Vec<&str> = of(Role::Replica).filter_map(Member::id).map(ReplicaId::as_str).collect();
    let folder = logs.path();
    let mut text = format!(
        "Natter is ready: {} and {}\n",
        counted(frontends.len(), "frontend"),
        counted(of(Role::Replica).count(), "replica"),
    );
    let mut line = |what: &str, value: &str| {
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {what:<12} {value}");
    };
    line("broker", &broker.url());
    if let Some(url) = broker.second_url() {
        line("site 2", &format!("{url} (the broker above is that of site 1)"));
        for site in broker.sites() {
            let names: Vec<&str> = members.iter().filter(|member| member.site() == *site).map(Member::name).collect();
            line(&format!("at {site}"), &names.join(", "));
        }
    }
    if let Some(url) = broker.monitoring_url() {
        line("monitoring", url);
    }
    for (name, url) in ["live page", "of site 2"].into_iter().zip(pages) {
        line(name, url);
    }
    line("frontends", &frontends.join(", "));
    line("replicas", &replicas.join(", "));
    let fate = if logs.scratch().is_some() { " (removed at the end; --logs DIR keeps them)" } else { "" };
    line("logs", &format!("{}{fate}", folder.display()));
    if let Some(earlier) = logs.earlier() {
        line("earlier logs", &earlier.display().to_string());
    }
    line("follow", &format!("tail -F {}/*.log", shell_word(folder)));
    line("look inside", &look_inside(broker));
    line("", &format!("{} micro ls", nats(broker)));
    text
}

fn nats(broker: &Broker) -> String {
    let options = broker.options();
    match &options.context {
        Some(context) if options.server.is_none() => format!("nats --context {}", shell_word(Path::new(context))),
        _ => format!("nats --server {}", broker.url()),
    }
}

/// The `nats` CLI, with this executable to make the messages readable.
fn look_inside(broker: &Broker) -> String {
    let decode = match std::env::current_exe() {
        Ok(program) if shell_word(&program) == program.display().to_string() => {
            format!("{} client decode", program.display())
        }
        _ => "client decode".to_owned(),
    };
    format!("{} sub '{}.>' --translate '{decode}'", nats(broker), broker.options().prefix)
}
