//! `ls`: streams as a table.

use std::io::Write;
use std::process::ExitCode;

use ipa_eventstore::{EventStore, ListStreams, StreamInfo};
use serde_json::json;

use crate::args::Ls;
use crate::failure::Failure;
use crate::{reading, stdout, text};

/// A table's columns are as wide as the widest of so many rows.
const PAGE: usize = 1000;

pub async fn run(args: Ls, json: bool) -> Result<ExitCode, Failure> {
    let Ls { store: path, r#type, after, max } = args;
    reading(&path, async |store| {
        let mut out = stdout();
        let mut list = ListStreams::new();
        (list.stream_type, list.after) = (r#type, after);
        let mut left = max.unwrap_or(usize::MAX);
        let mut first = true;
        while left > 0 {
            let asked = left.min(PAGE);
            let page = list.clone().max_count(asked);
            let page = store.list_streams(page).await.map_err(|error| Failure::of_store(&path, &error))?;
            if json {
                for info in &page {
                    text::json_line(&mut out, &as_json(info))?;
                }
            } else if !page.is_empty() {
                text::table(&mut out, &rows(&page, first), &[2])?;
            }
            first = false;
            left -= page.len();
            match page.last() {
                Some(last) if page.len() == asked => list.after = Some(last.id.clone()),
                _ => break,
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

fn as_json(info: &StreamInfo) -> serde_json::Value {
    json!({
        "name": info.id,
        "type": info.stream_type,
        "version": info.version,
        "created_at": text::time(info.created_at),
        "updated_at": text::time(info.updated_at),
    })
}

fn rows(page: &[StreamInfo], with_header: bool) -> Vec<Vec<String>> {
    let header = with_header.then(|| ["NAME", "TYPE", "VERSION", "UPDATED"].map(String::from).to_vec());
    let row = |info: &StreamInfo| {
        vec![
            text::plain(info.id.as_str()).into_owned(),
            text::plain(info.stream_type.as_str()).into_owned(),
            info.version.to_string(),
            text::time(info.updated_at),
        ]
    };
    header.into_iter().chain(page.iter().map(row)).collect()
}
