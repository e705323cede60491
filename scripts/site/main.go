// Command site builds the static site of the documentation from the Markdown
// files of the repository.
//
//	README*, docs/**/*.md ─► pages ─► goldmark ─► links rewritten ─► layout.html ─► OUT/{en,zh}/…
//	images they show ──────────────────────────────────────────────────────────────► OUT/assets/…
//	files of the repository that they lead to ─────────────────────────────────────► OUT/files/…
//
// It is a module of its own: the product does not need goldmark. Use:
//
//	go run . REPOSITORY OUT
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: site REPOSITORY OUT")
		os.Exit(2)
	}
	n, err := Build(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	fmt.Printf("%d pages: %s/index.html\n", n, os.Args[2])
}
