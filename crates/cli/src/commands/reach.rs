//! `network explain`: whether A reaches B, in sentences. (Ours: docker has no such command, and other engines cannot answer.)

use skiff_api::model::Explanation;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    say,
};

/// The exit code if it ends on the way.
const ENDS: i64 = 1;
/// The exit code if it depends on what the engine does not know.
const DEPENDS: i64 = 2;

/// `skiff network explain`. Exit code 0 says that it arrives.
pub(super) async fn explain(call: Call<'_>) -> Outcome {
    let Call { session, matches, args, .. } = call;
    let client = session.engine().await?;
    let told: Explanation = client.network_explain(&args[0], &args[1]).await?;
    if !matches.on("quiet") {
        match matches.text("format") {
            "" => say::line(&sentences(&told).join("\n")),
            "json" => say::line(
                &serde_json::to_string(&told)
                    .map_err(|e| Failure::new(format!("rendering the answer: {e}")))?,
            ),
            other => return Err(Failure::new(format!("unsupported format {other:?}: only json is there"))),
        }
    }
    match told.verdict.as_str() {
        "reaches" => Ok(()),
        "depends" => Err(Failure::exit(DEPENDS)),
        _ => Err(Failure::exit(ENDS)),
    }
}

fn sentences(told: &Explanation) -> Vec<String> {
    let Explanation { from, to, address, verdict, steps } = told;
    let at = match address.as_str() {
        "" => String::new(),
        address if to.starts_with(address) || to.starts_with(&format!("[{address}]")) => String::new(),
        address => format!(" ({address})"),
    };
    let headline = match verdict.as_str() {
        "reaches" => format!("{from} reaches {to}{at}."),
        "depends" => format!("Whether {from} reaches {to}{at} depends on what is not known here."),
        _ => format!("{from} does not reach {to}{at}."),
    };
    let width = steps.iter().map(|step| step.about.len()).max().unwrap_or(0);
    let last = steps.len().saturating_sub(1);
    let line = |(i, step): (usize, &skiff_api::model::ExplanationStep)| {
        let end = if i == last && verdict == "ends" { "  <- here it ends" } else { "" };
        format!("  {:width$}  {}{end}", step.about, step.text)
    };
    std::iter::once(headline).chain(steps.iter().enumerate().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use skiff_api::model::ExplanationStep;

    use super::*;

    fn told(verdict: &str, steps: &[(&str, &str)]) -> Explanation {
        let step = |(about, text): &(&str, &str)| ExplanationStep {
            about: (*about).to_owned(),
            text: (*text).to_owned(),
        };
        Explanation {
            from: "web".into(),
            to: "db:80".into(),
            address: "10.1.0.2".into(),
            verdict: verdict.into(),
            steps: steps.iter().map(step).collect(),
        }
    }

    #[test]
    fn the_verdict_comes_first_and_the_end_is_marked() {
        let text = sentences(&told("ends", &[("name", "a"), ("rule", "b")])).join("\n");
        assert_eq!(text, "web does not reach db:80 (10.1.0.2).\n  name  a\n  rule  b  <- here it ends");
        let text = sentences(&told("reaches", &[("port", "db listens at port 80")])).join("\n");
        assert_eq!(text, "web reaches db:80 (10.1.0.2).\n  port  db listens at port 80");
        assert!(sentences(&told("depends", &[])).join("\n").starts_with("Whether web reaches"));
    }
}
