package doctor

import "fmt"

// part is one of several things that a check is about.
type part struct {
	status       Status
	text, remedy string
}

// sum is the check of all parts: as bad as the worst of them, and about that one. well
// says, where nothing is wrong with several of them, how many there are.
func sum(name string, parts []part, well string) Check {
	if len(parts) == 1 {
		return Check{Name: name, Status: parts[0].status, Finding: parts[0].text, Remedy: parts[0].remedy}
	}
	c := Check{Name: name, Status: OK, Finding: well}
	for _, status := range []Status{Failed, Warning} {
		var found []part
		for _, p := range parts {
			if p.status == status {
				found = append(found, p)
			}
		}
		if len(found) > 0 {
			c.Status, c.Finding, c.Remedy = status, found[0].text, found[0].remedy
			if more := len(found) - 1; more > 0 {
				c.Finding += fmt.Sprintf("; and %d more, see below", more)
			}
			break
		}
	}
	for _, p := range parts {
		detail := p.text
		if p.remedy != "" && p.text != c.Finding {
			detail += "; remedy: " + p.remedy
		}
		c.Details = append(c.Details, detail)
	}
	return c
}
