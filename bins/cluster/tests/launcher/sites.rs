//! `cluster --sites 2`: the link between two sites is cut and healed, with real brokers.

use crate::support::{Place, Running, text, until};

/// URL of the broker of site 2, as it was told.
fn second_url(cluster: &Running<'_>) -> String {
    let told = cluster.told();
    let line = told.lines().find_map(|line| line.trim().strip_prefix("site 2 ")).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// Runs the client at a site without a session, and gives all that it wrote.
fn client(place: &Place, url: &str, arguments: &[&str]) -> String {
    let output = place.run(&[&["client"], arguments, &["--no-state", "--server", url]].concat(), "");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn cut_parts_two_sites_that_go_on_alone_and_converge_when_it_is_healed() {
    let place = Place::new();
    let mut cluster = place.start(&["--port", "0", "--sites", "2", "--console", "--observe=127.0.0.1:0", "2", "4"]);
    assert!(cluster.told().contains("\n  of site 2 "), "a page for each site: {}", cluster.told());
    let (first, second) = (cluster.url(), second_url(&cluster));
    assert_ne!(first, second);
    client(&place, &first, &["42", "create", "1", "2"]);
    until("the update comes to site 2", || client(&place, &second, &["42", "read", "1"]).contains(": 2.0"));
    cluster.say("heal\ncut\nstatus\n");
    cluster.until_said("the link between the sites is cut");
    cluster.until_said(
        "site 1: r1 (ACTIVE), r3 (ACTIVE), f1 (ACTIVE); site 2: r2 (ACTIVE), r4 (ACTIVE), f2 (ACTIVE); the link is cut",
    );
    cluster.until_told("not done: the link between the sites is not cut");
    // Each site has two replicas, as many as hold an update before it is acknowledged.
    let said = client(&place, &first, &["42", "update", "1", "4.5"]);
    assert!(said.contains("r1-") && said.contains("r3-"), "{said}");
    let said = client(&place, &second, &["43", "create", "1", "3.5"]);
    assert!(said.contains("r2-") && said.contains("r4-"), "{said}");
    assert!(client(&place, &first, &["42", "read", "1"]).contains(": 4.5"));
    assert!(client(&place, &second, &["42", "read", "1"]).contains(": 2.0"), "site 2 has the update of site 1");
    assert!(client(&place, &first, &["43", "read", "1"]).contains("no rating"), "site 1 has the update of site 2");
    cluster.say("offline r4\nactive r4\nheal\n");
    cluster.until_said(" is OFFLINE (mode offline)");
    cluster.until_said("the link between the sites is healed");
    for (url, user, stars) in [(&second, "42", ": 4.5"), (&first, "43", ": 3.5")] {
        until("the sites agree", || client(&place, url, &[user, "read", "1"]).contains(stars));
    }
    until("the digests are equal", || client(&place, &second, &["status"]).contains("\nconverged"));
    cluster.say("quit\n");
    assert_eq!(cluster.wait().code(), Some(0), "{}", cluster.told());
    place.assert_nothing_left();
}
