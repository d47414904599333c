/**
 * Names that can be taken for each other.
 *
 * @module
 */

/**
 * Greek and Cyrillic letters, each before the Latin one that it looks like: those of `confusables.txt` of
 * Unicode Technical Standard 39 (version 14) that look like one letter of ASCII. What NFKC replaces, such
 * as fullwidth letters, is not among them.
 */
const LETTERS = new Map(
  ("ͿJ ΑA ΒB ΕE ΖZ ΗH Ιl ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX αa γy ιi νv οo ρp σo υu ϜF ϳj ϺM ЅS Іl ЈJ АA ВB " +
    "ЕE КK МM НH ОO РP СC ТT УY ХX Ьb аa гr еe оo рp сc уy хx ѕs іi јj ѡw ѴV ѵv ҮY үy һh ҽe Ӏl ӏi " +
    "ԁd ԌG ԛq ԜW ԝw").split(" ").map((pair) => [pair[0]!, pair[1]!]),
);

/** What the eye misses: spaces, and characters that are not drawn. */
const UNDRAWN = /[\s\p{DI}]/gv;

/**
 * Returns the forms of a name that it shares with names that look like it: one without the form and case
 * of its letters, and one without their script.
 */
export function formsOf(name: string): [caseless: string, latin: string] {
  const text = name.normalize("NFKC").replace(UNDRAWN, "");
  const latin = text.replace(/[\u0370-\u052f]/g, (letter) => LETTERS.get(letter) ?? letter);
  return [
    text.toLowerCase(),
    latin.toLowerCase().replace(/[i1|]/g, "l").replaceAll("0", "o").replaceAll("m", "rn"),
  ];
}
