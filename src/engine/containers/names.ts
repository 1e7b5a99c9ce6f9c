/** Container names: which are allowed, and made-up ones (`adjective_noun`, with a digit when the first choice is taken). */
import { Fault } from '#base/fault.ts'
import { randomInt, type Random } from '#base/random.ts'

const allowed = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/

/** The name without its leading slash; `invalidArgument` in Docker's words when it is not allowed. */
export function checkedName(name: string): string {
  const bare = name.startsWith('/') ? name.slice(1) : name
  if (!allowed.test(bare)) throw new Fault('invalidArgument', `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`)
  return bare
}

const adjectives = 'able agile amber ample ardent autumn azure balmy bold brave breezy bright brisk bronze calm candid cheerful clear clever coastal copper coral cosy crisp curious daring dapper deft eager early earnest easy elegant fair fleet fond frank fresh gentle glad golden grand hardy hearty honest humble jolly keen kind lively lucid lucky lunar mellow merry mild mighty modest nimble noble patient placid plucky polite proud quick quiet ready rosy serene silver sincere smart snug solar spry steady stellar sturdy sunny swift tidy tranquil trusty upbeat vivid warm wise witty zesty'.split(' ')
const nouns = 'anchor barge basin bay beacon bollard bow breeze bridge brig buoy canal captain cargo chart clipper coast compass coral cove crane current cutter deck delta dinghy dock dolphin estuary ferry fjord foghorn frigate galley gangway gull harbour haven heron hull inlet island jetty kayak keel ketch lagoon lantern lighthouse lock lugger marina mariner mast mooring narwhal oar otter packet pelican pier pilot port prow puffin quay rigging rudder sail schooner seal sextant shoal shore skiff skipper sloop sound spar spray starboard stern strait stream tide tiller tug vessel voyage wake wave wharf yacht'.split(' ')

/** A name for which `taken` is false. */
export function inventName(random: Random, taken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt += 1) {
    const base = `${adjectives[randomInt(random, adjectives.length)]}_${nouns[randomInt(random, nouns.length)]}`
    const name = attempt < 6 ? base : `${base}${randomInt(random, 10 ** Math.min(9, attempt - 5))}`
    if (!taken(name)) return name
  }
}
