//! Changes of the look of what follows (SGR) in their usual form. In coloured output they come every few characters;
//! for the parser of any sequence they are a sequence like any other.

use vte::ansi::{Attr, Color, Handler, NamedColor, Rgb};

/// Parameters of one sequence; one with more is read the long way.
const MAX_PARAMETERS: usize = 16;

const COLOURS: [NamedColor; 8] = [
    NamedColor::Black,
    NamedColor::Red,
    NamedColor::Green,
    NamedColor::Yellow,
    NamedColor::Blue,
    NamedColor::Magenta,
    NamedColor::Cyan,
    NamedColor::White,
];

const BRIGHT_COLOURS: [NamedColor; 8] = [
    NamedColor::BrightBlack,
    NamedColor::BrightRed,
    NamedColor::BrightGreen,
    NamedColor::BrightYellow,
    NamedColor::BrightBlue,
    NamedColor::BrightMagenta,
    NamedColor::BrightCyan,
    NamedColor::BrightWhite,
];

/// Has `terminal` act on the sequence at the start of `bytes`, if it is one that changes the look, whole, and of plain
/// numbers. Answers its length.
pub(super) fn change_look(terminal: &mut impl Handler, bytes: &[u8]) -> Option<usize> {
    let mut parameters = [0_u16; MAX_PARAMETERS];
    let mut n_parameters = 1;
    for (index, byte) in bytes.iter().enumerate().skip(2) {
        let parameter = &mut parameters[n_parameters - 1];
        match byte {
            b'0'..=b'9' if *parameter < 1000 => *parameter = *parameter * 10 + u16::from(byte - b'0'),
            b';' if n_parameters < MAX_PARAMETERS => n_parameters += 1,
            b'm' => {
                let mut parameters = parameters[..n_parameters].iter().copied();
                while let Some(parameter) = parameters.next() {
                    if let Some(attribute) = attribute(parameter, &mut parameters) {
                        terminal.terminal_attribute(attribute);
                    }
                }
                return Some(index + 1);
            }
            _ => return None,
        }
    }
    None
}

/// What a parameter means; a colour's number or parts are taken from those `after` it.
fn attribute(parameter: u16, after: &mut impl Iterator<Item = u16>) -> Option<Attr> {
    let named = |names: [NamedColor; 8], base: u16| Color::Named(names[usize::from(parameter - base)]);
    Some(match parameter {
        0 => Attr::Reset,
        1 => Attr::Bold,
        2 => Attr::Dim,
        3 => Attr::Italic,
        4 => Attr::Underline,
        5 => Attr::BlinkSlow,
        6 => Attr::BlinkFast,
        7 => Attr::Reverse,
        8 => Attr::Hidden,
        9 => Attr::Strike,
        21 => Attr::CancelBold,
        22 => Attr::CancelBoldDim,
        23 => Attr::CancelItalic,
        24 => Attr::CancelUnderline,
        25 => Attr::CancelBlink,
        27 => Attr::CancelReverse,
        28 => Attr::CancelHidden,
        29 => Attr::CancelStrike,
        30..=37 => Attr::Foreground(named(COLOURS, 30)),
        38 => Attr::Foreground(colour(after)?),
        39 => Attr::Foreground(Color::Named(NamedColor::Foreground)),
        40..=47 => Attr::Background(named(COLOURS, 40)),
        48 => Attr::Background(colour(after)?),
        49 => Attr::Background(Color::Named(NamedColor::Background)),
        58 => Attr::UnderlineColor(Some(colour(after)?)),
        59 => Attr::UnderlineColor(None),
        90..=97 => Attr::Foreground(named(BRIGHT_COLOURS, 90)),
        100..=107 => Attr::Background(named(BRIGHT_COLOURS, 100)),
        _ => return None,
    })
}

/// `5;N` or `2;R;G;B`. Of what is neither, as much is taken as was looked at.
fn colour(parameters: &mut impl Iterator<Item = u16>) -> Option<Color> {
    let mut part = || u8::try_from(parameters.next()?).ok();
    match part()? {
        2 => Some(Color::Spec(Rgb { r: part()?, g: part()?, b: part()? })),
        5 => Some(Color::Indexed(part()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vte::ansi::Processor;

    /// Takes the attributes that are set.
    #[derive(Debug, Default, PartialEq)]
    struct Set(Vec<Attr>);

    impl Handler for Set {
        fn terminal_attribute(&mut self, attribute: Attr) {
            self.0.push(attribute);
        }
    }

    proptest! {
        #[test]
        fn a_look_is_what_the_parser_makes_of_it(
            parameters in prop::collection::vec(
                prop_oneof![
                    8 => (0_u16..120).prop_map(|number| number.to_string()),
                    2 => prop::sample::select(vec!["38", "48", "58", "2", "5", "300", "", "9999", "10000", "4:3", "?1"])
                        .prop_map(str::to_owned),
                ],
                0..20,
            ),
            last in prop::sample::select(vec!["m", "m", "m", "H", "", " q"]),
        ) {
            let sequence = format!("\x1b[{}{last}", parameters.join(";"));
            let (mut quick, mut slow) = (Set::default(), Set::default());
            let length = change_look(&mut quick, sequence.as_bytes());
            Processor::<vte::ansi::StdSyncHandler>::new().advance(&mut slow, sequence.as_bytes());
            prop_assert!(length.is_none_or(|length| length == sequence.len()));
            prop_assert_eq!(quick, if length.is_some() { slow } else { Set::default() });
        }
    }
}
