//! Reads cases as JSON lines `{"quote": hex, "collateral": …, "now": unix seconds, "root": hex of a certificate or null
//! for Intel's}` and answers each with a line: `{"status": …, "advisories": […]}`, or `{"error": …}`.
use std::io::{stdin, BufRead};

use dcap_qvl::{configs::RustCryptoConfig, verify::QuoteVerifier, QuoteCollateralV3};
use serde_json::{from_str, from_value, json, Value};

fn judge(line: &str) -> Result<Value, Box<dyn std::error::Error>> {
    let mut case: Value = from_str(line)?;
    let quote = hex::decode(case["quote"].as_str().ok_or("no quote")?)?;
    let collateral: QuoteCollateralV3 = from_value(case["collateral"].take())?;
    let verifier = match case["root"].as_str() {
        Some(root) => QuoteVerifier::new(hex::decode(root)?),
        None => QuoteVerifier::new_prod(),
    };
    let report = verifier.with_config::<RustCryptoConfig>().verify(
        &quote,
        &collateral,
        case["now"].as_u64().ok_or("no now")?,
    )?;
    Ok(json!({ "status": report.status, "advisories": report.advisory_ids }))
}

fn main() {
    for line in stdin().lock().lines() {
        let answer = line.map_err(Into::into).and_then(|line| judge(&line));
        println!("{}", answer.unwrap_or_else(|error| json!({ "error": error.to_string() })));
    }
}
