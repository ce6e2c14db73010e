/**
 * Decimals as text, compared and added exactly: a coefficient and a power of ten.
 */

/** Characters of a decimal. Its exponent has at most three digits, so sums stay small. */
export const DECIMAL_LENGTH_MAX = 1_000;
const TEXT = /^([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]{1,3}))?$/;

/** `coefficient` × 10^`exponent`. */
export interface Decimal {
  readonly coefficient: bigint;
  readonly exponent: number;
}

/** The decimal that a text says, null if it says none or is too long. */
export function parseDecimal(text: string): Decimal | null {
  const found = text.length <= DECIMAL_LENGTH_MAX ? TEXT.exec(text) : null;
  if (found === null) return null;
  const fraction = found[3] ?? found[4] ?? "";
  const magnitude = BigInt((found[2] ?? "") + fraction);
  return {
    coefficient: found[1] === "-" ? -magnitude : magnitude,
    exponent: Number(found[5] ?? 0) - fraction.length,
  };
}

/** "-125e-2": digits without trailing zeros, exponent; zero is "0e0". */
export function canonicalDecimal({ coefficient, exponent }: Decimal): string {
  if (coefficient === 0n) return "0e0";
  const digits = coefficient.toString();
  const kept = digits.replace(/0+$/, "");
  return `${kept}e${exponent + digits.length - kept.length}`;
}

/** Negative, zero or positive, as `a` is less than, the same as or more than `b`. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const [x, y] = aligned([a, b]).coefficients;
  return x! < y! ? -1 : x! > y! ? 1 : 0;
}

/** `hub` + `to` - `from` without an exponent, with the longest fraction of the three; null if that
 * is too long. */
export function sumOfDecimals(hub: Decimal, from: Decimal, to: Decimal): string | null {
  const { coefficients, exponent } = aligned([hub, from, to]);
  const total = coefficients[0]! + coefficients[2]! - coefficients[1]!;
  const text = plainText({ coefficient: total, exponent });
  return text.length > DECIMAL_LENGTH_MAX ? null : text;
}

function aligned(decimals: readonly Decimal[]): { coefficients: bigint[]; exponent: number } {
  const exponent = Math.min(...decimals.map((decimal) => decimal.exponent));
  const coefficients = decimals.map((d) => d.coefficient * 10n ** BigInt(d.exponent - exponent));
  return { coefficients, exponent };
}

function plainText({ coefficient, exponent }: Decimal): string {
  const sign = coefficient < 0n ? "-" : "";
  const digits = (coefficient < 0n ? -coefficient : coefficient).toString();
  if (exponent >= 0) return coefficient === 0n ? "0" : sign + digits + "0".repeat(exponent);
  const padded = digits.padStart(1 - exponent, "0");
  return `${sign}${padded.slice(0, exponent)}.${padded.slice(exponent)}`;
}
