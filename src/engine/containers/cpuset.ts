/** Lists of CPUs and memory nodes as the kernel writes them: `0-3,7` (cpuset(7), "List format"). */

/** No machine has more; a longer range is a mistake or an attack on our memory. */
const highestNumber = 8191

function parseList(text: string): Set<number> | undefined {
  const numbers = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim())
    if (match === null) return undefined
    const first = Number(match[1])
    const last = match[2] === undefined ? first : Number(match[2])
    if (last < first || last > highestNumber) return undefined
    for (let number = first; number <= last; number += 1) numbers.add(number)
  }
  return numbers
}

/** Whether `wanted` names something that `available` has not. */
export function outsideOf(wanted: string, available: string): boolean | 'malformed' {
  const numbers = parseList(wanted)
  if (numbers === undefined) return 'malformed'
  const there = parseList(available) ?? new Set()
  return [...numbers].some((number) => !there.has(number))
}
