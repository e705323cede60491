package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oidc runs the benchmarks of an OpenID Connect sign-in alternately with handlers that
// check nothing and sign the same token: CPU of the process, without net/http.
func (h *env) oidc(rounds int) error {
	var ratios []float64
	for range rounds {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", "SignIn$", "-benchtime", "500x",
			"./oidc").CombinedOutput()
		if err != nil {
			return fmt.Errorf("oidc: %w: %s", err, out)
		}
		used := map[string]float64{}
		for line := range strings.Lines(string(out)) { // BenchmarkSignIn-2  500  2000 ns/op  1900 cpu-ns/op …
			f := strings.Fields(line)
			for i := 3; i < len(f); i++ {
				if f[i] == "cpu-ns/op" {
					name, _, _ := strings.Cut(f[0], "-")
					used[name], _ = strconv.ParseFloat(f[i-1], 64)
				}
			}
		}
		if used["BenchmarkBareSignIn"] == 0 {
			return fmt.Errorf("oidc: no figures in %s", out)
		}
		ratios = append(ratios, used["BenchmarkSignIn"]/used["BenchmarkBareSignIn"])
		fmt.Printf("OpenID Connect sign-in: %v CPU, bare %v\n", time.Duration(used["BenchmarkSignIn"]),
			time.Duration(used["BenchmarkBareSignIn"]))
	}
	slices.Sort(ratios)
	h.note("OpenID Connect sign-in (code, ID token by RS256, userinfo), CPU against bare handlers",
		"OpenID Connect 登录（授权码、RS256 的 ID Token、userinfo），CPU 与裸处理函数之比", "≤ 1.3",
		"%.2f (%.2f … %.2f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
	return nil
}
