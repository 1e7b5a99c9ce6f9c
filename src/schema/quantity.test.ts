/** Quantities keep their value exactly and print as upstream prints them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { canonicalQuantity, compareQuantities, formatQuantity, milliUnits, parseQuantity, quantityOf, wholeUnits } from './quantity.ts'

test('canonical forms are those of Kubernetes', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['0', '0'], ['0Mi', '0'], ['1', '1'], ['100m', '100m'], ['1000m', '1'], ['0.5', '500m'], ['1.5', '1500m'], ['0.1', '100m'], ['.5', '500m'], ['5.', '5'],
    ['1024', '1024'], ['1Ki', '1Ki'], ['1024Ki', '1Mi'], ['0.5Gi', '512Mi'], ['1.5Gi', '1536Mi'], ['512', '512'], ['1000Ki', '1000Ki'], ['0.5Ki', '512'],
    ['1000', '1k'], ['1e3', '1e3'], ['12e6', '12e6'], ['1E', '1E'], ['1E3', '1e3'], ['100k', '100k'], ['1000k', '1M'], ['-5m', '-5m'], ['+5', '5'], ['1n', '1n'], ['0.1n', '1n'],
    ['2048Mi', '2Gi'], ['3000000000', '3G'], ['7500u', '7500u'], ['10e-3', '10e-3'],
  ]
  for (const [given, canonical] of cases) assert.equal(canonicalQuantity(given), canonical, given)
  assert.equal(canonicalQuantity(2), '2')
  assert.equal(canonicalQuantity(0.25), '250m')
})

test('what is no quantity is refused', () => {
  for (const text of ['', 'abc', '1.2.3', '1 Gi', '1gi', '--1', '1ki', 'Mi', '.', '1e', '0x10', '1KiB', '1'.repeat(65)]) assert.equal(parseQuantity(text), undefined, text)
  assert.throws(() => quantityOf('1 GB'), /'1 GB' is not a quantity/)
})

test('canonical text denotes the same value, and is its own canonical form', () => {
  const suffix = fc.constantFrom('', 'n', 'u', 'm', 'k', 'M', 'G', 'T', 'Ki', 'Mi', 'Gi', 'Ti', 'e3', 'e-3')
  const text = fc.tuple(fc.boolean(), fc.nat(99_999), fc.option(fc.nat(999)), suffix).map(([negative, whole, fraction, tail]) => `${negative ? '-' : ''}${whole}${fraction === null ? '' : `.${fraction}`}${tail}`)
  fc.assert(
    fc.property(text, (given) => {
      const parsed = quantityOf(given)
      const canonical = formatQuantity(parsed)
      assert.equal(quantityOf(canonical).nanos, parsed.nanos)
      assert.equal(canonicalQuantity(canonical), canonical)
    }),
  )
})

test('comparisons and units are exact', () => {
  assert.ok(compareQuantities(quantityOf('1Gi'), quantityOf('1G')) > 0)
  assert.equal(wholeUnits('1Gi'), 1_073_741_824n)
  assert.equal(wholeUnits('100m'), 1n)
  assert.equal(milliUnits('1.5'), 1500)
  assert.equal(milliUnits('1u'), 1)
})
