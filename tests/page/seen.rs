//! The page as a reader sees it.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use crate::chromium::Tab;

/// The numbers of a limit on the page, by their labels.
pub(crate) type Numbers = BTreeMap<String, String>;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) kind: String,
    /// What is unusual about the limit.
    pub(crate) state: String,
    pub(crate) main: String,
    pub(crate) numbers: Numbers,
    /// The changes in the last minute.
    pub(crate) changes: Numbers,
    /// The rows of the keys that a rule rejects most.
    pub(crate) keys: Vec<[String; 3]>,
    /// The points of each line of the chart, in the units of the drawing.
    pub(crate) lines: Vec<String>,
}

const CARDS: &str = r#"
[...document.querySelectorAll("article")].map(card => ({
    name: card.querySelector("h2").textContent,
    kind: card.querySelector(".kind").textContent,
    state: card.querySelector(".state").textContent,
    main: card.querySelector(".main").textContent,
    numbers: Object.fromEntries([...card.querySelectorAll("details:not(.keys) tbody tr")]
        .map(row => [row.cells[0].textContent, row.cells[1].textContent])),
    changes: Object.fromEntries([...card.querySelectorAll("details:not(.keys) tbody tr")]
        .map(row => [row.cells[0].textContent, row.cells[2].textContent])),
    keys: [...card.querySelectorAll("details.keys tbody tr")]
        .map(row => [...row.cells].map(cell => cell.textContent)),
    lines: [...card.querySelectorAll("polyline:not(.bound)")]
        .map(line => line.getAttribute("points")),
}))"#;

impl Tab {
    pub(crate) async fn cards(&self) -> Vec<Card> {
        serde_json::from_value(self.read(CARDS).await).unwrap()
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let text = format!("document.querySelector({selector:?})?.textContent ?? \"\"");
        self.read(&text).await.as_str().unwrap().to_owned()
    }

    /// Waits until an expression is true.
    pub(crate) async fn wait_for(&self, expression: &str) {
        for _ in 0..100 {
            if self.read(expression).await == Value::Bool(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{expression} is not true after 10 s, of the page {}", self.text("body").await);
    }

    pub(crate) async fn wait_for_status(&self, status: &str) {
        self.wait_for(&format!("document.querySelector(\"#status\")?.textContent === {status:?}"))
            .await;
    }

    /// Waits until the page shows the limits that `expected` gives, by position.
    pub(crate) async fn wait_for_numbers(&self, expected: impl Fn() -> Vec<Numbers>) -> Vec<Card> {
        for _ in 0..100 {
            let cards = self.cards().await;
            if cards.iter().map(|card| &card.numbers).eq(&expected()) {
                return cards;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let cards = self.cards().await;
        panic!("the page shows {cards:#?} after 10 s, and the handles {:#?}", expected());
    }

    /// Asserts that nothing is wider than a window of this width.
    pub(crate) async fn assert_fits(&self, width: u32) {
        self.resize(width, 800).await;
        let wide = format!(
            "[...document.querySelectorAll('body, body *')]
                .filter(it => it.scrollWidth > it.clientWidth && it.clientWidth > 0
                    || it.getBoundingClientRect().right > {width})
                .map(it => it.outerHTML.slice(0, 200))"
        );
        // The tables are laid out some time after the window has its width.
        let mut found = self.read(&wide).await;
        for _ in 0..100 {
            if found == serde_json::json!([]) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            found = self.read(&wide).await;
        }
        assert_eq!(found, serde_json::json!([]), "at {width} pixels after 10 s");
        let full = "document.documentElement.scrollWidth";
        assert!(self.read(full).await.as_u64().unwrap() <= u64::from(width));
        self.resize(1000, 800).await;
    }

    /// Asserts that texts and lines stand out from the card behind them, as WCAG 2.1 AA demands.
    pub(crate) async fn assert_contrast(&self) {
        for scheme in ["light", "dark"] {
            self.prefer(scheme).await;
            let ratios = self.read(CONTRAST).await;
            for (name, ratio) in ratios.as_object().unwrap() {
                let least = if ["text", "soft", "alarm"].contains(&&**name) { 4.5 } else { 3.0 };
                let ratio = ratio.as_f64().unwrap();
                assert!(ratio >= least, "{name} has a contrast of {ratio:.2} in {scheme}");
            }
        }
        self.prefer("light").await;
    }
}

/// The least contrast of each colour with the page and with a card.
const CONTRAST: &str = r#"
(() => {
    const style = getComputedStyle(document.documentElement);
    const luminance = name => {
        let hex = style.getPropertyValue(`--${name}`).trim().slice(1);
        if (hex.length === 3) hex = [...hex].map(it => it + it).join("");
        const [red, green, blue] = [0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16) / 255)
            .map(it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const ratio = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const names = ["text", "soft", "alarm", "first", "second", "third", "bound"];
    return Object.fromEntries(
        names.map(name => [name, Math.min(ratio(name, "card"), ratio(name, "page"))]));
})()"#;
