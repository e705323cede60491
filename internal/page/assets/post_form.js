// Posts the answer of a sign-in to the application that asked for it.
document.getElementById("answer").submit();
