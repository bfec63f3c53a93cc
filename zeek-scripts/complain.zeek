##! Lines for people, each once.

module MMTT;

# Complaints that are told apart, at most. Whoever can reach the socket can make up names.
const max_complaints = 100;

global complaints: set[string];

# A line for people, once for each `key`.
function complain(key: string, text: string)
	{
	if ( key in complaints || |complaints| >= max_complaints )
		return;

	add complaints[key];
	Reporter::warning("mmtt: " + text);
	}
