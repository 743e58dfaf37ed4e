//! What can be checked in a text: numbers with sign and unit, dates, quotations.

/// A number as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Figure {
    /// Sign and digits, normalised: `-3.5`, `1200`.
    pub value: String,
    /// Normalised unit; empty if none is known.
    pub unit: String,
}

/// Units: the normalised form, then its spellings.
const UNITS: &[(&str, &[&str])] = &[
    ("%", &["%", "percent", "per cent", "pct", "percentage"]),
    ("$", &["$", "usd", "dollar", "dollars"]),
    ("€", &["€", "eur", "euro", "euros"]),
    ("£", &["£", "gbp", "pound", "pounds"]),
    ("¥", &["¥", "jpy", "yen"]),
    ("mg", &["mg", "milligram", "milligrams"]),
    ("µg", &["µg", "μg", "mcg", "microgram", "micrograms"]),
    ("g", &["g", "gram", "grams"]),
    ("kg", &["kg", "kgs", "kilogram", "kilograms", "kilo", "kilos"]),
    ("lb", &["lb", "lbs"]),
    ("oz", &["oz", "ounce", "ounces"]),
    ("t", &["t", "ton", "tons", "tonne", "tonnes"]),
    ("mm", &["mm", "millimetre", "millimetres", "millimeter", "millimeters"]),
    ("cm", &["cm", "centimetre", "centimetres", "centimeter", "centimeters"]),
    ("m", &["m", "metre", "metres", "meter", "meters"]),
    ("km", &["km", "kilometre", "kilometres", "kilometer", "kilometers"]),
    ("mi", &["mi", "mile", "miles"]),
    ("ft", &["ft", "foot", "feet"]),
    ("in", &["inch", "inches"]),
    ("l", &["l", "litre", "litres", "liter", "liters"]),
    ("ml", &["ml", "millilitre", "millilitres", "milliliter", "milliliters"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("ms", &["ms", "millisecond", "milliseconds"]),
    ("min", &["min", "mins", "minute", "minutes"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("d", &["day", "days"]),
    ("wk", &["week", "weeks"]),
    ("mo", &["month", "months"]),
    ("y", &["year", "years", "yr", "yrs"]),
    ("°c", &["°c", "celsius"]),
    ("°f", &["°f", "fahrenheit"]),
    ("kb", &["kb", "kilobyte", "kilobytes"]),
    ("mb", &["mb", "megabyte", "megabytes"]),
    ("gb", &["gb", "gigabyte", "gigabytes"]),
    ("tb", &["tb", "terabyte", "terabytes"]),
    ("thousand", &["thousand", "k"]),
    ("million", &["million", "mn"]),
    ("billion", &["billion", "bn"]),
    ("trillion", &["trillion"]),
    ("am", &["am", "a.m"]),
    ("pm", &["pm", "p.m"]),
    ("w", &["w", "watt", "watts"]),
    ("kw", &["kw", "kilowatt", "kilowatts"]),
    ("mw", &["mw", "megawatt", "megawatts"]),
    ("gw", &["gw", "gigawatt", "gigawatts"]),
    ("kwh", &["kwh"]),
    ("mwh", &["mwh"]),
    ("v", &["v", "volt", "volts"]),
    ("hz", &["hz", "hertz"]),
    ("khz", &["khz"]),
    ("mhz", &["mhz"]),
    ("ghz", &["ghz"]),
    ("ha", &["ha", "hectare", "hectares"]),
    ("acre", &["acre", "acres"]),
    ("gal", &["gallon", "gallons"]),
    ("yd", &["yard", "yards"]),
    ("mph", &["mph"]),
    ("kph", &["kph", "kmh"]),
    ("psi", &["psi"]),
    ("cal", &["calorie", "calories"]),
    ("kcal", &["kcal"]),
    ("deg", &["°", "degree", "degrees"]),
];

/// Numbers as words. `one` is left out: it is a pronoun as often.
const NUMBER_WORDS: &[(&str, &str)] = &[
    ("zero", "0"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("thirteen", "13"),
    ("fourteen", "14"),
    ("fifteen", "15"),
    ("sixteen", "16"),
    ("seventeen", "17"),
    ("eighteen", "18"),
    ("nineteen", "19"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("forty", "40"),
    ("fifty", "50"),
    ("sixty", "60"),
    ("seventy", "70"),
    ("eighty", "80"),
    ("ninety", "90"),
    ("hundred", "100"),
    ("thousand", "1000"),
    ("million", "1000000"),
    ("billion", "1000000000"),
    ("dozen", "12"),
    ("twice", "2"),
    ("half", "0.5"),
];

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

fn unit_of(word: &str) -> &'static str {
    let lower = word.trim_end_matches('.').to_lowercase();
    UNITS.iter().find(|(_, spellings)| spellings.contains(&lower.as_str())).map_or("", |(unit, _)| unit)
}

/// Every number of a text, with sign and unit.
pub(crate) fn figures(text: &str) -> Vec<Figure> {
    let chars: Vec<char> = text.chars().collect();
    let mut figures = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if !chars[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let before = at.checked_sub(1).map(|i| chars[i]);
        let in_word = before.is_some_and(|c| c.is_alphabetic() || c == '_');
        let start = at;
        let mut digits = String::new();
        while at < chars.len() {
            let c = chars[at];
            let next_digit = chars.get(at + 1).is_some_and(char::is_ascii_digit);
            let group = || {
                let run = chars[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
                run == 3 && next_digit
            };
            match c {
                '0'..='9' => digits.push(c),
                ',' | '\u{a0}' | '\u{202f}' | '\'' if group() => {}
                '.' if next_digit && !digits.contains('.') => digits.push('.'),
                _ => break,
            }
            at += 1;
        }
        let glued = chars.get(at).is_some_and(|c| c.is_alphabetic());
        if in_word {
            continue;
        }
        let (sign, symbol) = sign_and_symbol(&chars, start);
        let mut rest: String = chars[at..chars.len().min(at + 24)].iter().collect();
        if glued {
            let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '.').collect();
            let ordinal = matches!(word.as_str(), "st" | "nd" | "rd" | "th" | "s");
            if unit_of(&word).is_empty() && !ordinal {
                continue; // part of an identifier
            }
            if ordinal {
                rest = rest.chars().skip(word.chars().count()).collect();
            }
        }
        // "$3 billion" is neither "$3 million" nor "3 billion".
        let unit = match (symbol, unit_behind(&rest)) {
            ("", unit) => unit.to_owned(),
            (symbol, scale @ ("thousand" | "million" | "billion" | "trillion")) => {
                format!("{symbol} {scale}")
            }
            (symbol, _) => symbol.to_owned(),
        };
        figures.push(Figure { value: format!("{sign}{}", plain(&digits)), unit });
    }
    let words: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let number =
        |word: &str| NUMBER_WORDS.iter().find(|(w, _)| w.eq_ignore_ascii_case(word)).map(|(_, v)| *v);
    let compound = |word: &str, next: Option<&&str>| -> Option<u32> {
        let tens: u32 = number(word)?.parse().ok().filter(|t| (20..100).contains(t) && t % 10 == 0)?;
        let ones: u32 = match next? {
            one if one.eq_ignore_ascii_case("one") => 1,
            next => number(next)?.parse().ok().filter(|o| *o < 10)?,
        };
        Some(tens + ones)
    };
    let mut i = 0;
    while let Some(word) = words.get(i) {
        let value = match compound(word, words.get(i + 1)) {
            Some(value) => {
                i += 1;
                Some(value.to_string())
            }
            None => number(word).map(ToOwned::to_owned),
        };
        if let Some(value) = value {
            let unit = words.get(i + 1).filter(|next| next.len() > 1).map_or("", |next| unit_of(next));
            figures.push(Figure { value, unit: unit.to_owned() });
        }
        i += 1;
    }
    figures
}

/// `3.50` is `3.5`, `007` is `7`.
fn plain(digits: &str) -> String {
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() || trimmed.starts_with('.') { format!("0{trimmed}") } else { trimmed.to_owned() }
}

fn sign_and_symbol(chars: &[char], start: usize) -> (&'static str, &'static str) {
    let mut at = start;
    let mut symbol = "";
    if let Some(c) = at.checked_sub(1).and_then(|i| chars.get(i)) {
        let unit = unit_of(&c.to_string());
        if matches!(unit, "$" | "€" | "£" | "¥") {
            symbol = unit;
            at -= 1;
        }
    }
    let minus = at.checked_sub(1).is_some_and(|i| {
        let sign = matches!(chars[i], '-' | '−' | '–');
        // Behind a word or a figure it is a hyphen or a range.
        sign && i.checked_sub(1).is_none_or(|j| chars[j].is_whitespace() || "([{:=\"'".contains(chars[j]))
    });
    let before: String = chars[at.saturating_sub(10)..at].iter().collect::<String>().to_lowercase();
    let minus = minus || ["minus", "negative"].iter().any(|word| before.trim_end().ends_with(word));
    (if minus { "-" } else { "" }, symbol)
}

fn unit_behind(rest: &str) -> &'static str {
    let trimmed = rest.trim_start_matches([' ', '\u{a0}', '-']);
    let lower = trimmed.to_lowercase();
    for (spelling, unit) in [("a.m", "am"), ("p.m", "pm"), ("per cent", "%")] {
        if lower.starts_with(spelling) {
            return unit;
        }
    }
    if let Some(c) = trimmed.chars().next()
        && !c.is_alphanumeric()
        && c != '°'
    {
        return unit_of(&c.to_string());
    }
    let word: String = trimmed.chars().take_while(|c| c.is_alphabetic() || *c == '°').collect();
    let short = word.chars().count() <= 1;
    // "5 a day": single letters only where they follow directly or are set apart on purpose.
    if short && word == "a" { "" } else { unit_of(&word) }
}

/// Pairs of a month and the number next to it.
pub(crate) fn dates(text: &str) -> Vec<(String, String)> {
    let tokens: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|token| !token.is_empty())
        .map(str::to_lowercase)
        .collect();
    let day = |token: Option<&String>| -> Option<String> {
        let token = token?;
        let digits: String = token.chars().take_while(char::is_ascii_digit).collect();
        let rest = &token[digits.len()..];
        let ordinal = matches!(rest, "" | "st" | "nd" | "rd" | "th");
        (ordinal && !digits.is_empty() && digits.len() <= 4).then(|| plain(&digits))
    };
    let mut dates = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Some(month) = MONTHS.iter().find(|m| token.starts_with(**m) && is_month(token)) else { continue };
        for number in
            [i.checked_sub(1).and_then(|j| day(tokens.get(j))), day(tokens.get(i + 1))].into_iter().flatten()
        {
            dates.push(((*month).to_owned(), number));
        }
    }
    dates
}

fn is_month(token: &str) -> bool {
    const FULL: &[&str] = &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "sept",
    ];
    token.len() == 3 || FULL.contains(&token)
}

/// What stands between quotation marks, if it is more than a word.
pub(crate) fn quotations(text: &str) -> Vec<&str> {
    let mut quotes = Vec::new();
    for (open, close) in [('"', '"'), ('“', '”'), ('«', '»')] {
        let mut rest = text;
        while let Some((_, behind)) = rest.split_once(open) {
            let Some((quote, after)) = behind.split_once(close) else { break };
            let quote = quote.trim().trim_end_matches(['.', ',', '!', '?', ';']);
            if !quote.is_empty() {
                quotes.push(quote);
            }
            rest = after;
        }
    }
    quotes
}
