//! Settings of limits that processes share, in files and for running limits.

use tower::{Layer, ServiceExt};
use tower_floodgate::{config::SharedWindowConfig, shared::Away};

use crate::{
    small_store::SmallStore,
    support::{Probe, ms, secs},
};

const FILE: &str = r#"
name = "github:search"
quota = "1000/1s"
away = { share = 8 }
max_share = 750
strict = true
store_timeout = "50ms"
max_queue = 20
max_wait = "5s"
"#;

/// A change of settings.
type Change = fn(&mut SharedWindowConfig);

fn settings() -> SharedWindowConfig {
    let away = Away::Share { processes: 8 };
    let mut settings = SharedWindowConfig::new("github:search", "1000/1s".parse().unwrap(), away);
    (settings.max_share, settings.strict) = (Some(750), true);
    settings.store_timeout = ms(50);
    (settings.max_queue, settings.max_wait) = (20, secs(5));
    settings
}

#[test]
fn s1_shared_limit_is_read_from_a_file_and_written_back() {
    let read: SharedWindowConfig = toml::from_str(FILE).unwrap();
    assert_eq!(read, settings());
    let written = toml::to_string(&read).unwrap();
    assert_eq!(toml::from_str::<SharedWindowConfig>(&written).unwrap(), read, "{written}");
    let written = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<SharedWindowConfig>(&written).unwrap(), read, "{written}");
    assert!(written.contains(r#""away":{"share":8}"#), "{written}");

    // Without the fields that have defaults.
    for (text, away) in [("closed", Away::Closed), ("open", Away::Open)] {
        let file = format!("name = 'a'\nquota = '5/s'\naway = '{text}'");
        let read: SharedWindowConfig = toml::from_str(&file).unwrap();
        let expected = SharedWindowConfig::new("a", "5/s".parse().unwrap(), away);
        assert_eq!(read, expected);
        assert_eq!((read.max_queue, read.max_wait), (10_000, secs(30)));
        let written = toml::to_string(&read).unwrap();
        assert_eq!(toml::from_str::<SharedWindowConfig>(&written).unwrap(), expected);
    }
}

#[test]
fn s1_c7_invalid_settings_of_a_shared_limit_name_the_field_the_value_and_the_remedy() {
    let cases = [
        ("name = \"\"", "name is \"\": it must be a text of 1 to 200 bytes"),
        ("quota = \"9/50ms\"", "window is 50ms: it must be at least 100ms"),
        ("away = { share = 0 }", "share is 0: it must be a whole number between 1 and 2147483647"),
        ("away = \"shut\"", "unknown variant `shut`, expected one of `closed`, `open`, `share`"),
        ("max_share = 0", "max_share is 0: it must be a whole number between 1 and 2147483647"),
        ("store_timeout = \"11s\"", "store_timeout is 11s: it must be longer than zero"),
        ("max_wait = 5", "max_wait"),
        ("max_wiat = \"5s\"", "unknown field `max_wiat`"),
    ];
    for (line, expected) in cases {
        let (field, _) = line.split_once(" = ").unwrap();
        let others = FILE.lines().filter(|other| !other.starts_with(&format!("{field} =")));
        let file = others.chain([line]).collect::<Vec<_>>().join("\n");
        let error = toml::from_str::<SharedWindowConfig>(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} for {line}");
    }

    // Those that depend on each other are checked when the layer is made.
    let refused = |change: Change| {
        let mut settings = settings();
        change(&mut settings);
        settings.try_layer(SmallStore::new()).unwrap_err().to_string()
    };
    assert_eq!(
        refused(|settings| settings.max_share = Some(1001)),
        "max_share is 1001: it must be between 1 and the limit, 1000"
    );
    assert_eq!(
        refused(|settings| settings.away = Away::Share { processes: 1001 }),
        "processes is 1001: it must be between 1 and the limit, 1000: each process has a share of \
         it"
    );
}

#[tokio::test(start_paused = true)]
async fn s2_settings_of_a_shared_limit_change_while_it_runs() {
    let mut settings = settings();
    let store = SmallStore::new();
    let layer = settings.try_layer(store.clone()).unwrap().name("fleet");
    let handle = layer.handle();
    assert_eq!((handle.quota_name(), handle.quota()), ("github:search", settings.quota));
    assert_eq!((handle.max_queue(), handle.max_wait()), (Some(20), Some(secs(5))));
    let debug = format!("{handle:?}");
    for setting in ["max_share: 750", "is_strict: true", "away: Share { processes: 8 }"] {
        assert!(debug.contains(setting), "{debug}");
    }
    layer.layer(Probe::new()).oneshot(1).await.unwrap();

    settings.quota = "2000/2s".parse().unwrap();
    settings.max_share = None;
    (settings.max_queue, settings.max_wait) = (7, ms(10));
    settings.check(&handle).unwrap();
    assert_eq!(handle.limit(), 1000, "a check changes nothing");
    settings.apply(&handle).unwrap();
    assert_eq!((handle.quota(), handle.max_queue()), (settings.quota, Some(7)));
    assert_eq!(handle.max_wait(), Some(ms(10)));
    assert!(format!("{handle:?}").contains("max_share: 2000"));
    let changes = || handle.snapshot().counts.unwrap().limit_changes;
    assert_eq!(changes(), 1);
    // The share alone is no change of the limit.
    settings.max_share = Some(9);
    settings.apply(&handle).unwrap();
    assert!(format!("{handle:?}").contains("max_share: 9"));
    assert_eq!(changes(), 1);
}

#[test]
fn s2_settings_of_a_shared_limit_that_cannot_change_are_refused_and_nothing_changes() {
    let layer = settings().try_layer(SmallStore::new()).unwrap();
    let handle = layer.handle();
    let cases: [(Change, &str); 6] = [
        (
            |settings| settings.name = "gitlab".into(),
            "name is \"gitlab\": it must be \"github:search\", as that of the running limit: it \
             cannot change",
        ),
        (
            |settings| settings.away = Away::Open,
            "away is Open: it must be Share { processes: 8 }, as that of the running limit: it \
             cannot change",
        ),
        (
            |settings| settings.strict = false,
            "strict is false: it must be true, as that of the running limit: it cannot change",
        ),
        (
            |settings| settings.store_timeout = ms(60),
            "store_timeout is 60ms: it must be 50ms, as that of the running limit: it cannot \
             change",
        ),
        (
            |settings| settings.max_share = Some(0),
            "max_share is 0: it must be between 1 and the limit, 2",
        ),
        (
            |settings| settings.away = Away::Share { processes: 3 },
            "processes is 3: it must be between 1 and the limit, 2: each process has a share of it",
        ),
    ];
    for (change, expected) in cases {
        let mut other = settings();
        if expected.contains("the limit, 2") {
            other.away = Away::Share { processes: 2 };
            other.quota = "2/1s".parse().unwrap();
            other.max_share = Some(1);
        }
        change(&mut other);
        assert_eq!(other.check(&handle).unwrap_err().to_string(), expected);
        assert_eq!(other.apply(&handle).unwrap_err().to_string(), expected);
        assert_eq!((handle.limit(), handle.max_queue()), (1000, Some(20)));
    }
}
