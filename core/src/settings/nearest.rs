//! "Did you mean".

/// The candidate that `name` is most likely a slip of, if any is close:
/// about one wrong letter in three.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&name, &plain(candidate));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_yes_other_words_no() {
        let known = ["port", "host", "dashboard_port"];
        for (name, found) in [
            ("potr", Some("port")),
            ("PORT", Some("port")),
            ("dashboard-port", Some("dashboard_port")),
            ("prt", Some("port")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), found, "{name}");
        }
    }
}
