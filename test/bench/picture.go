package main

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"time"
)

// bar is one ratio of the picture.
type bar struct {
	name, zh            string
	bare, like, ours    time.Duration // per request; like, 0 for none, is the bare program with our header
	ratio               float64       // of the least CPU times
	median, least, most float64       // of the rounds' ratios
	target              float64
}

// compare makes a bar from the CPU times of rounds. The ratio is that of the least times: other work
// on the machine only adds to a time, so that the least of many short rounds is the one that the
// program itself causes.
func compare(bares, ours []time.Duration) bar {
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, float64(ours[i])/float64(bares[i]))
	}
	slices.Sort(ratios)
	bare, our := slices.Min(bares), slices.Min(ours)
	return bar{
		bare:   bare,
		ours:   our,
		ratio:  float64(our) / float64(bare),
		median: ratios[len(ratios)/2],
		least:  ratios[0],
		most:   ratios[len(ratios)-1],
	}
}

// draw draws the ratios as SVG: a bar up to the ratio, a line over the rounds, a mark at
// the target. 1 is the yardstick itself.
func draw(bars []bar) string {
	const left, width, row = 300, 360, 34
	scale := func(ratio float64) float64 { return left + min(ratio, 3)/3*width }
	var b strings.Builder
	height := len(bars)*row + 60
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 %d" font-family="system-ui,sans-serif" `+
			`font-size="13" role="img" aria-label="CPU per request beside a bare Go program">`+"\n", height)
	fmt.Fprintf(&b,
		`<rect width="720" height="%d" fill="#ffffff"/><text x="16" y="26" font-weight="600" fill="#16202e">CPU `+
			`per request, as a multiple of a bare Go program</text>`+"\n", height)
	for i, x := range bars {
		y := 44 + i*row
		fill := "#0f62de"
		if x.ratio > x.target {
			fill = "#b3541e"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#16202e">%s</text>`, left-10, y+15,
			html.EscapeString(x.name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="18" rx="4" fill="%s"/>`, left, y+2,
			scale(x.ratio)-left, fill)
		fmt.Fprintf(&b, `<path d="M%.1f %dH%.1f" stroke="#16202e" stroke-width="2"/>`, scale(x.least), y+11,
			scale(x.most))
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#0b6b3c" stroke-width="3"/>`, scale(x.target), y-2, y+24)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#16202e">%.2f</text>`+"\n",
			max(scale(x.most), scale(x.target))+8, y+16, x.ratio)
	}
	fmt.Fprintf(&b,
		`<text x="16" y="%d" fill="#4d5b6e" font-size="12">bar: ratio of the least · dark line: all rounds · green `+
			`mark: target</text></svg>`+"\n", height-10)
	return b.String()
}
