//! Names for containers that were given none: an adjective and a scientist.

use rand::seq::IndexedRandom;

const HOW: [&str; 64] = [
    "agile", "amber", "ample", "azure", "bold", "brave", "bright", "brisk", "calm", "candid", "cheerful",
    "civil", "clever", "cosmic", "crisp", "curious", "daring", "deft", "eager", "earnest", "easy", "fair",
    "festive", "fond", "frank", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "humble",
    "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mighty", "modest", "neat",
    "noble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "ready", "robust", "serene",
    "sharp", "silver", "steady", "sunny", "swift", "tidy", "vivid", "warm", "witty",
];

const WHO: [&str; 80] = [
    "abel",
    "agnesi",
    "ampere",
    "archimedes",
    "avogadro",
    "banach",
    "bell",
    "bernoulli",
    "bohr",
    "bolzano",
    "boole",
    "born",
    "bose",
    "boyle",
    "cantor",
    "carson",
    "cauchy",
    "celsius",
    "copernicus",
    "coulomb",
    "curie",
    "dalton",
    "darwin",
    "dijkstra",
    "dirac",
    "edison",
    "einstein",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fibonacci",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "godel",
    "goodall",
    "halley",
    "hamilton",
    "hawking",
    "heisenberg",
    "hertz",
    "hilbert",
    "hooke",
    "hopper",
    "hubble",
    "huygens",
    "hypatia",
    "jacobi",
    "joule",
    "kelvin",
    "kepler",
    "kovalevskaya",
    "lagrange",
    "laplace",
    "leibniz",
    "linnaeus",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "newton",
    "nobel",
    "noether",
    "ohm",
    "pascal",
    "pasteur",
    "planck",
    "ramanujan",
    "riemann",
    "sagan",
    "tesla",
    "turing",
    "volta",
];

/// A name such as `quiet_noether`; from the fourth try on with a number behind it.
pub(crate) fn random(attempt: u32) -> String {
    let mut random = rand::rng();
    let how = HOW.choose(&mut random).expect("there are adjectives");
    let who = WHO.choose(&mut random).expect("there are scientists");
    match attempt {
        0..3 => format!("{how}_{who}"),
        _ => format!("{how}_{who}{}", rand::random_range(0..1000 * attempt)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_valid() {
        for attempt in 0..200 {
            let name = random(attempt / 40);
            crate::validate::name(&name, &name).unwrap();
        }
    }
}
