//! The queries of the dashboard, and the alert rules of the page beside it.

use std::fs;

use serde_json::Value;

const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observability.md");

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap()
}

/// Returns the title and the query of each target, without the variables of Grafana.
pub(crate) fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("a dashboard has panels");
    let targets = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().expect("a panel has a title");
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(move |target| (title, target["expr"].as_str().expect("a target has a query")))
    });
    let panels = targets.map(|(title, query)| (title.to_owned(), without_variables(query)));
    panels.chain(variables(dashboard)).collect()
}

/// Returns the queries of the variables, as Grafana asks them.
fn variables(dashboard: &Value) -> Vec<(String, String)> {
    let variables = dashboard["templating"]["list"].as_array().expect("a dashboard has variables");
    let of_queries = variables.iter().filter(|variable| variable["type"] == "query");
    of_queries
        .map(|variable| {
            let query = variable["query"]["query"].as_str().expect("a variable has a query");
            let arguments = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
            let (metric, label) = arguments.and_then(|it| it.split_once(", ")).expect(query);
            (format!("variable {}", variable["name"]), format!("group by ({label}) ({metric})"))
        })
        .collect()
}

fn without_variables(query: &str) -> String {
    let query = query.replace("$limiter", ".*").replace("$__rate_interval", "5s");
    assert!(!query.contains('$'), "an unknown variable: {query}");
    query
}

/// Returns the rules of the page, as a file for Prometheus.
pub(crate) fn rules() -> String {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, rest) = page.split_once("```yaml\n").expect("the page has rules");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// Returns the name and the condition of each alert, which stand on one line each.
pub(crate) fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let values = |key| rules.lines().filter_map(move |line| line.trim_start().strip_prefix(key));
    values("- alert: ").zip(values("expr: ")).collect()
}
