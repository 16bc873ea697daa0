//! The table of the section `guarantees`.

use super::tables::{NONE, grouped, spread, table};
use crate::guarantees::judge::Judged;
use crate::guarantees::plan::Plan;
use crate::measurements::Results;
use crate::section::Section;
use crate::statistics::Spread;

const HEAD: [&str; 10] = [
    "",
    "fault",
    "operations",
    "without an answer",
    "read your writes broken",
    "monotonic reads broken",
    "causal order broken",
    "acknowledged writes lost",
    "nobody answered for, ms",
    "a session waited, ms",
];

/// A row for each system and fault. Violations are the sum of all rounds, times the median of the rounds.
pub(super) fn table_of(results: &Results) -> String {
    let mut plans: Vec<Plan> = Vec::new();
    for judged in &results.guarantees {
        let plan = plan_of(judged);
        if !plans.contains(&plan) {
            plans.push(plan);
        }
    }
    let rows: Vec<Vec<String>> = plans.into_iter().map(|plan| row(results, plan)).collect();
    table(Section::Guarantees.title(), &HEAD, &rows)
}

fn plan_of(judged: &Judged) -> Plan {
    Plan { system: judged.system, fault: judged.fault }
}

fn row(results: &Results, plan: Plan) -> Vec<String> {
    let of = || results.guarantees.iter().filter(|judged| plan_of(judged) == plan);
    let sum = |figure: &dyn Fn(&Judged) -> u64| grouped(of().map(figure).sum());
    let time = |figure: &dyn Fn(&Judged) -> f64| spread(Spread::of(of().map(figure)), |ms| grouped(ms.round() as u64));
    let lost = if of().all(|judged| judged.is_read_back) {
        sum(&|judged| judged.verdict.lost_updates)
    } else {
        NONE.to_owned() // nobody knows
    };
    vec![
        plan.system.title().to_owned(),
        plan.fault.title().to_owned(),
        sum(&|judged| judged.verdict.operations),
        sum(&|judged| judged.verdict.unanswered),
        sum(&|judged| judged.verdict.read_your_writes),
        sum(&|judged| judged.verdict.monotonic_reads),
        sum(&|judged| judged.verdict.causal_order + judged.verdict.others),
        lost,
        time(&|judged| judged.verdict.silence_ms),
        time(&|judged| judged.verdict.wait_ms),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guarantees::judge::tests::judged;
    use crate::guarantees::plan::{Fault, System};

    #[test]
    fn violations_are_added_up_and_a_state_that_nobody_read_loses_nothing_known() {
        let mut guarantees = vec![
            judged(System::KvDirect, Fault::Kill, 1, 1000),
            judged(System::KvDirect, Fault::Kill, 2, 200),
            judged(System::Natter, Fault::None, 1, 0),
        ];
        guarantees[2].is_read_back = false;
        let text = table_of(&Results { guarantees, ..Results::default() });
        let rows: Vec<Vec<&str>> = text.lines().skip(5).map(|line| line.split('|').map(str::trim).collect()).collect();
        assert_eq!(
            rows[0][1..],
            ["JetStream KV R3, direct gets", "SIGKILL of a node", "2,000", "0", "1,200", "0", "0", "0", "12", "0", ""]
        );
        assert_eq!((rows[1][2], rows[1][8], rows.len()), ("none", NONE, 2));
    }
}
