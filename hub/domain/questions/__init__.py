"""Questions and their answers, from asking to accepting; the urgent ones with their waves."""
