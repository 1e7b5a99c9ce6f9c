/** Volumes: create, inspect, list, remove, prune, use. */
import type { CliCase } from '../case.ts'

export const volumeCases: readonly CliCase[] = [
  {
    name: 'volumes/create, inspect, list, remove',
    lines: [
      'docker volume create one', 'docker volume create --label a=b --driver local --name two 2>/dev/null || docker volume create --label a=b --driver local two', 'docker volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,uid=1000 three', 'docker volume create | wc -c', 'docker volume inspect one two three', "docker volume inspect -f '{{.Name}} {{.Driver}} {{.Scope}} {{.Options}}' three", 'docker volume ls -f name=o', 'docker volume ls --quiet --filter label=a=b', 'docker volume list -f driver=local -q | wc -l', 'docker volume ls -f dangling=true --format "{{.Name}} {{.Driver}} {{.Labels}} {{.Scope}}" -f name=two',
      'docker volume create one', '! docker volume create --label other=x -d nosuch one', "! docker volume create 'bad/name'", '! docker volume create a', '! docker volume create -o odd=1 odd', '! docker volume create -d nosuch xx', '! docker volume inspect nosuch', '! docker volume rm nosuch', 'docker volume rm --force nosuch', '! docker volume ls -f odd=1', '! docker volume ls -f dangling=odd',
      'docker run --rm -v three:/t bb:1 sh -c "df -k /t | tail -1 | awk \'{print \\$2}\'; stat -c %u /t"', 'docker create --name uses -v one:/o bb:1 >/dev/null', '! docker volume rm one', '! docker volume rm -f one', 'docker volume ls -q -f dangling=false', 'docker rm -v uses', 'docker volume rm one two', 'docker volume remove three',
    ],
  },
  { name: 'volumes/prune', lines: ['docker volume create --label keep=1 one; docker volume create two; docker run --name c1 -v three:/t -v /anon bb:1 true', 'docker volume prune -f --filter label!=keep --filter label!=none | sort', 'docker volume prune --force | sort', 'echo n | docker volume prune', 'docker volume ls -q | sort', '! docker volume prune -f --filter odd=1'] },
  { name: 'volumes/prune all', clients: ['28'], lines: ['docker volume create one', '! docker volume prune -af', 'docker volume ls -q'], exitCodesAt150: { 1: 0 } },
  { name: 'volumes/copy-up and data', lines: ['docker run --rm -v etc:/etc bb:1 cat /etc/group', 'docker run --rm -v etc:/x bb:1 sh -c "ls /x; echo more > /x/more"', 'docker run --rm -v etc:/x:ro bb:1 cat /x/more', 'docker run --rm -v plain:/etc:nocopy bb:1 ls /etc | sort', 'docker run --name hold -v /data bb:1 sh -c "echo kept > /data/f"', 'docker run --rm --volumes-from hold bb:1 cat /data/f', 'docker rm -v hold', 'docker volume ls -q | sort'] },
]
