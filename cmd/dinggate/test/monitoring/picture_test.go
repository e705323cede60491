package monitoring

import (
	"context"
	"fmt"
	"html"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dinggate/internal/i18n"
)

// TestDashboardPicture draws docs/screenshots/dashboard.svg: a real Prometheus scrapes an
// environment under load for a minute and a half. The test draws the results of the
// dashboard's expressions itself, since Grafana is not available. `make dashboard` runs
// it.
func TestDashboardPicture(t *testing.T) {
	if os.Getenv("DASHBOARD_PICTURE") == "" {
		t.Skip("draws the picture of the dashboard: make dashboard")
	}
	h := metered(t)
	p := startPrometheus(t, h)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	traffic(h, ctx, 70*time.Millisecond)
	var b strings.Builder
	bottom := 0
	for _, panel := range dashboard(t) {
		bottom = max(bottom, (panel.GridPos.Y+panel.GridPos.H)*unitY)
		drawPanel(&b, p, panel, start.Add(4*time.Second))
	}
	svg := fmt.Sprintf(
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif"><rect `+
			`width="100%%" height="100%%" fill="#f4f5f5"/>%s</svg>`+"\n", 24*unitX, bottom+8, 24*unitX, b.String(),
	)
	if err := os.WriteFile("../../../../docs/screenshots/dashboard.svg", []byte(svg), 0o644); err != nil {
		t.Fatal(err)
	}
}

const unitX, unitY = 50, 24

var lineColours = []string{"#3274d9", "#56a64b", "#e0b400", "#e02f44", "#8f3bb8", "#ff780a", "#37872d", "#1f60c4",
	"#a352cc", "#5a5a5a"}

func drawPanel(b *strings.Builder, p *prometheus, panel dashboardPanel, start time.Time) {
	x, y, w, h := panel.GridPos.X*unitX, panel.GridPos.Y*unitY, panel.GridPos.W*unitX, panel.GridPos.H*unitY
	if panel.Type == "row" {
		fmt.Fprintf(b, `<text x="%d" y="%d" font-size="14" font-weight="bold" fill="#333">%s</text>`, x+10, y+17,
			html.EscapeString(panel.Title))
		return
	}
	fmt.Fprintf(b,
		`<rect x="%d" y="%d" width="%d" height="%d" rx="3" fill="#fff" stroke="#ddd"/><text x="%d" y="%d" `+
			`font-size="12" fill="#333">%s</text>`,
		x+4, y+4, w-8, h-8, x+12, y+22, html.EscapeString(panel.Title))
	var lines []series
	var names []string
	for _, target := range panel.Targets {
		for _, s := range p.query(target.Expr, start) {
			lines = append(lines, s)
			names = append(names,
				legendLabel.ReplaceAllStringFunc(target.LegendFormat, func(label string) string {
					return s.Metric[legendLabel.FindStringSubmatch(label)[1]]
				}))
		}
	}
	if panel.Type == "stat" {
		value := "No data"
		if len(lines) > 0 {
			last := lines[0].Values[len(lines[0].Values)-1]
			value = inUnit(reading(last), panel.FieldConfig.Defaults.Unit)
			if strings.HasPrefix(panel.Targets[0].Expr, "dinggate_build_info") {
				value = lines[0].Metric["goversion"]
			}
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" font-size="30" text-anchor="middle" fill="#56a64b">%s</text>`, x+w/2,
			y+h/2+14, html.EscapeString(value))
		return
	}
	drawLines(b, lines, names, panel.FieldConfig.Defaults.Unit, x+56, y+34, w-72, h-34-44, start)
}

func drawLines(b *strings.Builder, lines []series, names []string, unit string, x, y, w, h int, start time.Time) {
	top := 0.0
	for _, s := range lines {
		for _, v := range s.Values {
			if n := reading(v); !math.IsNaN(n) && !math.IsInf(n, 0) {
				top = max(top, n)
			}
		}
	}
	if top == 0 {
		top = 1
	}
	for i := range 3 {
		level := y + h*i/2
		fmt.Fprintf(b,
			`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#eee"/><text x="%d" y="%d" font-size="9" `+
				`text-anchor="end" fill="#777">%s</text>`, x, level, x+w, level, x-4, level+3,
			inUnit(top*float64(2-i)/2, unit))
	}
	span := time.Since(start).Seconds()
	for i, s := range lines {
		var points []string
		for _, v := range s.Values {
			if n := reading(v); !math.IsNaN(n) && !math.IsInf(n, 0) {
				at := v[0].(float64) - float64(start.Unix())
				points = append(points,
					fmt.Sprintf("%.0f,%.0f", float64(x)+float64(w)*min(max(at, 0)/span, 1),
						float64(y+h)-float64(h)*n/top))
			}
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.3"/>`,
			strings.Join(points, " "), lineColours[i%len(lineColours)])
	}
	if len(lines) == 0 {
		fmt.Fprintf(b, `<text x="%d" y="%d" font-size="13" text-anchor="middle" fill="#999">No data</text>`, x+w/2,
			y+h/2)
	}
	across, down := x-40, y+h+14
	order := make([]int, len(names))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	for _, i := range order {
		name := names[i]
		wide := 20 + i18n.Width(name)*5
		if across+wide > x+w && across > x-40 {
			across, down = x-40, down+11
		}
		if down > y+h+26 {
			break
		}
		fmt.Fprintf(b,
			`<rect x="%d" y="%d" width="8" height="3" fill="%s"/><text x="%d" y="%d" font-size="9" `+
				`fill="#555">%s</text>`, across, down-4, lineColours[i%len(lineColours)], across+11, down,
			html.EscapeString(name))
		across += wide
	}
}

func reading(v [2]any) float64 {
	text, _ := v[1].(string)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return n
}

// inUnit formats a value approximately as Grafana does.
func inUnit(v float64, unit string) string {
	short := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	switch unit {
	case "s":
		switch {
		case v >= 86400:
			return short(v/86400) + " d"
		case v >= 3600:
			return short(v/3600) + " h"
		case v >= 60:
			return short(v/60) + " min"
		case v < 1:
			return short(v*1000) + " ms"
		}
		return short(v) + " s"
	case "bytes":
		return short(v/(1<<20)) + " MiB"
	case "percentunit":
		return short(v*100) + "%"
	case "reqps":
		return short(v) + "/s"
	}
	return short(v)
}
