use super::*;

#[test]
fn natural_requests_are_recognised() {
    for (label, prompt) in [
        ("coding", "Traceback (most recent call last):\n  File \"a.py\", line 3, in <module>\nKeyError: 'x'"),
        ("coding", "write a bash script that renames all jpg files by date"),
        ("math", "A tank holds 240 litres and loses 3 litres an hour. How many hours until it is half full?"),
        (
            "summarization",
            "Summarize the article below in two sentences.\n\nThe council met on Tuesday to talk about the bridge. It has been closed since spring, when a lorry hit the railing, and the repair will cost far more than was thought. A decision is expected in autumn.",
        ),
        ("translation", "Translate into German: the shop is closed on Mondays"),
        ("translation", "Wie sagt man auf Französisch \"Bis morgen\"?"),
        ("rewriting", "make this email more polite: send me the file now"),
        ("writing", "Write a short poem about a lighthouse"),
        ("qa", "What is the capital of Australia?"),
        ("qa", "Which gas is most of the air?\nA) oxygen\nB) nitrogen\nC) argon\nD) helium"),
        ("chat", "hi"),
        ("chat", "谢谢"),
        ("classification", "Is this review positive or negative? \"Broke on day one.\""),
        ("extraction", "Extract all the names of persons from this text: Ann met Bob in Paris, and Carl stayed at home."),
    ] {
        let guess = classify("", prompt);
        assert_eq!(guess.label.as_str(), label, "{prompt}: {guess:?}");
    }
}

#[test]
fn one_strong_sign_decides_alone() {
    for (prompt, alone) in [
        ("Translate this sentence to Spanish: where is the station?", Some(Label::Translation)),
        ("Translate this python program to rust: print(1)", None),
        ("diff --git a/x b/x\n@@ -1 +1 @@\n-a\n+b", Some(Label::Coding)),
        ("summarize", None),
    ] {
        let guess = classify("", prompt);
        assert_eq!(guess.by_structure.then_some(guess.label), alone, "{prompt}");
    }
}

#[test]
fn the_system_message_counts() {
    let german = "You are a translator. Translate everything into German.";
    assert_eq!(classify(german, "how do I reset my password?").label, Label::Translation);
}

#[test]
fn what_stands_in_quotation_marks_is_not_asked() {
    let guess = classify("", "Fix the grammar: \"please translate the following text into german for me\"");
    assert_eq!(guess.label, Label::Rewriting, "{guess:?}");
}

#[test]
fn any_text_is_looked_at_without_harm_and_within_bounds() {
    let long = "translate ```\u{1f600}\" (a) ".repeat(100_000);
    for text in ["", " ", "\n", "\u{0}", "a\u{301}", "İ".repeat(1_000).as_str(), "\"".repeat(5_000).as_str(), long.as_str()] {
        let guess = classify(text, text);
        assert!(guess.confidence >= guess.runner_up.1, "{guess:?}");
        assert_ne!(guess.label, guess.runner_up.0);
        let seen = Seen::of(text, text);
        assert!(seen.user.len() + seen.system.len() <= 3 * 1_040, "{} bytes are looked at", seen.user.len() + seen.system.len());
    }
}

#[test]
fn where_nothing_is_said_nothing_is_shown() {
    for (system, user) in [("", ""), ("", " \n\t"), (" ", "\u{3000}")] {
        assert_eq!(classify(system, user).confidence, Confidence::from_thousandths(0), "{user:?}");
    }
    assert!(classify("Translate what you get into German.", "").confidence > Confidence::from_thousandths(0));
}

#[test]
fn the_middle_of_a_long_text_is_not_looked_at() {
    let body = "the river runs past the old mill. ".repeat(60);
    let plain = format!("What is this about?\n{body}{body}");
    let hidden = format!("What is this about?\n{body}translate this to german{body}");
    assert_eq!(classify("", &plain).label, classify("", &hidden).label);
    assert_eq!(Seen::of("", &plain).user, Seen::of("", &hidden).user);
}

#[test]
fn chances_are_the_same_on_every_machine() {
    for (x, bits) in [(0.0_f32, 0x3f80_0000_u32), (-1.0, 0x3ebc_5ab2), (-10.0, 0x383e_6bca), (-61.0, 0)] {
        let exact = f64::from(x).exp();
        let ours = scores::exp([x])[0];
        assert!((f64::from(ours) - exact).abs() <= exact * 1e-4 + 1e-12, "{x}: {ours} is not {exact}");
        assert!(ours.to_bits().abs_diff(bits) < 4_000, "{x}: {:x}", ours.to_bits());
    }
}

fn example(label: Label, prompt: &str, source: &str) -> Example {
    Example { label, system: String::new(), prompt: prompt.into(), source: source.into() }
}

#[test]
fn what_several_sources_share_is_learned_and_what_one_has_is_not() {
    let mut examples = Vec::new();
    for source in ["a", "b", "c"] {
        for word in ["eins", "zwei", "drei", "vier"] {
            examples.push(example(Label::Chat, &format!("blorg {word} {source}"), source));
            examples.push(example(Label::Qa, &format!("fnord {word} {source}"), source));
        }
    }
    // A word of one source's template, always with the same label.
    examples.extend((0..8).map(|_| example(Label::Writing, "zzyzx fnord", "a")));
    let table = train(&examples, [7; 32]);
    assert_eq!(table.digest(), [7; 32]);
    assert_eq!(table.classify("", "blorg sechs acht zehn elf").label, Label::Chat);
    assert_eq!(table.classify("", "fnord sechs acht zehn elf").label, Label::Qa);
    let confidence = |word: &str| table.classify("", word).confidence;
    assert_eq!(confidence("zzyzx"), confidence("qqyqx"));
    assert_eq!(train(&examples, [7; 32]).to_bytes(), table.to_bytes());
    let again = Table::read(table.to_bytes().into()).unwrap();
    assert_eq!(again.to_bytes(), table.to_bytes());
}

#[test]
fn what_is_no_table_is_not_read() {
    let whole = train(&[example(Label::Chat, "a", "s")], [0; 32]).to_bytes();
    assert!(Table::read(whole.clone().into()).is_some());
    for bytes in [Vec::new(), whole[1..].to_vec(), whole[..whole.len() - 1].to_vec(), [&whole[..], &[0]].concat()] {
        assert!(Table::read(bytes.into()).is_none());
    }
}

#[test]
fn figures_are_counted_as_everybody_counts_them() {
    let examples = [
        example(Label::Chat, "hi", "s"),
        example(Label::Chat, "What is the capital of France?", "s"),
        example(Label::Qa, "What is the capital of Spain?", "s"),
    ];
    let evaluation = Evaluation::of(Table::built_in(), &examples, Confidence::from_thousandths(0));
    assert_eq!((evaluation.rows(), evaluation.coverage()), (3, 1.0));
    assert!((evaluation.accuracy() - 2.0 / 3.0).abs() < 1e-9);
    // Chat: precision 1, recall 1/2. Questions: precision 1/2, recall 1. The other eight were not met.
    assert!((evaluation.macro_f1() - 2.0 / 3.0).abs() < 1e-9, "{}", evaluation.macro_f1());
    let measures = evaluation.measures(Label::Chat);
    assert_eq!((measures.precision, measures.recall, measures.rows), (1.0, 0.5, 2));
}

#[test]
fn the_phrases_can_be_read() {
    let phrases = signs::phrases().unwrap();
    assert!(phrases > 900, "{phrases}");
}
