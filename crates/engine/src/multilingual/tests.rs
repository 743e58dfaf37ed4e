//! The encoder against what the program of its weights makes of the same texts (`eval/ranker/multilingual_fixture.py`).

use std::sync::LazyLock;

use serde::Deserialize;

use super::*;
use crate::Window;

#[derive(Deserialize)]
struct Row {
    name: String,
    text: String,
    /// None where a piece is not in the vocabulary that was cut.
    ids: Vec<Option<u32>>,
    passage: Vec<f32>,
    query: Vec<f32>,
}

fn rows() -> Vec<Row> {
    serde_json::from_str(include_str!("../../../../tests/fixtures/multilingual.json")).unwrap()
}

static ENCODER: LazyLock<Encoder> = LazyLock::new(|| built_in(Precision::Int8).unwrap());

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// A text behind its mark, as one part.
fn passage(text: &str) -> Vec<f32> {
    let ids = ENCODER.tokenize(&[text]).unwrap();
    let window = Window { context: &[], parts: ids.iter().map(Vec::as_slice).collect() };
    ENCODER.encode(&[window]).unwrap().remove(0).remove(0).sum
}

#[test]
fn pieces_are_those_of_the_whole_vocabulary() {
    let rows = rows();
    assert_eq!(rows.len(), 22);
    let mut whole = 0;
    for row in rows {
        let ids = ENCODER.tokenize(&[&row.text]).unwrap().remove(0);
        if let Some(known) = row.ids.iter().copied().collect::<Option<Vec<u32>>>() {
            assert_eq!(ids, known, "{}", row.name);
            whole += 1;
        } else {
            // Another cut of the few words whose piece was cut away: all else is the same.
            let known: Vec<u32> = row.ids.iter().copied().flatten().collect();
            let kept = known.iter().filter(|id| ids.contains(id)).count();
            assert!(kept * 10 >= known.len() * 9, "{}: {ids:?} {known:?}", row.name);
        }
    }
    assert!(whole >= 15, "{whole}");
}

#[test]
fn vectors_are_those_of_the_original() {
    for row in rows() {
        let ids = ENCODER.tokenize(&[&row.text]).unwrap().remove(0);
        let alike = cosine(&passage(&row.text), &row.passage);
        let asked = cosine(&ENCODER.encode_query(&ids).unwrap().sum, &row.query);
        // A piece that was cut away is read as others.
        let least = if row.ids.contains(&None) { 0.97 } else { 0.995 };
        assert!(alike > least && asked > least, "{}: {alike} {asked}", row.name);
    }
}

#[test]
fn a_question_is_nearest_to_its_answer_in_another_language() {
    let ids = ENCODER.tokenize(&["When was the bridge opened?"]).unwrap().remove(0);
    let asked = ENCODER.encode_query(&ids).unwrap().sum;
    let answer = cosine(&asked, &passage("Die Brücke wurde im Mai 1924 eröffnet."));
    for other in ["Der Bäcker verkauft Brot.", "Die Brücke ist grau.", "The baker sells bread."] {
        assert!(cosine(&asked, &passage(other)) < answer, "{other}");
    }
}

#[test]
fn blank_texts_have_no_pieces() {
    assert_eq!(ENCODER.tokenize(&["", " \n\u{3000}"]).unwrap(), [Vec::<u32>::new(), Vec::new()]);
    assert_eq!(ENCODER.encode(&[Window { context: &[], parts: vec![&[]] }]).unwrap()[0].len(), 1);
}
