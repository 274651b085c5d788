# Install twat-fs on Windows: the binary, or the Python file if the binary does not run here.
#
#     irm https://raw.githubusercontent.com/twardoch/twat-fs/main/install.ps1 | iex
#     $url = 'https://raw.githubusercontent.com/twardoch/twat-fs/main/install.ps1'
#     & ([scriptblock]::Create((irm $url))) -AddToPath
#
#     SHA256SUMS -> which files exist -> download one -> verify it -> run it once -> one move
#
# For PowerShell 5.1 and 7. ASCII only: 5.1 reads a file without a byte order mark as ANSI.
# It throws and never exits, because that would close the window. Names ignore case: a variable
# $python would be the switch $Python.

function Install-TwatFs {
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [string] $Version = $env:TWAT_FS_VERSION,
        [string] $Dir = $env:TWAT_FS_INSTALL_DIR,
        [switch] $Python,
        [switch] $Uninstall,
        [switch] $AddToPath,
        [switch] $Help
    )
    $ErrorActionPreference = 'Stop'
    $ProgressPreference = 'SilentlyContinue'       # 5.1 is slow with a progress bar

    $usage = @'
usage: install.ps1 [OPTIONS]

  -Version X.Y.Z   install this version (default: the newest)   (TWAT_FS_VERSION)
  -Dir DIR         install into this folder                     (TWAT_FS_INSTALL_DIR)
                   (default %LOCALAPPDATA%\Programs\twat-fs)
  -Python          install the Python file even if there is a binary
  -AddToPath       add that folder to the PATH of this user
  -Uninstall       delete twat-fs from that folder, and the folder if it is empty
  -Help            show this text

TWAT_FS_BASE_URL replaces https://github.com/twardoch/twat-fs/releases.
'@
    $fileNames = @('twat-fs.exe', 'twat-fs.cmd', 'twat-fs.py')      # of earlier installations too
    $registry = 'registry::HKEY_CURRENT_USER\Environment'

    function Say([string] $Text) { Write-Host "install.ps1: $Text" }

    # "download/v1.2.3" or "latest/download", relative to the releases.
    function Get-ReleasePath {
        if (-not $Version -or $Version -eq 'latest') { return 'latest/download' }
        $suffix = '([-.]?(a|b|rc|alpha|beta)\.?[0-9]*)?'
        if ($Version -cmatch "^v?([0-9]+\.[0-9]+\.[0-9]+$suffix)\z") {
            return "download/v$($Matches[1])"
        }
        throw "invalid version '$Version' (expected 1.2.3)"
    }

    function Get-Folder {
        $paths = $ExecutionContext.SessionState.Path
        if ($Dir) { return $paths.GetUnresolvedProviderPathFromPSPath($Dir) }
        if ($env:LOCALAPPDATA) { return Join-Path $env:LOCALAPPDATA 'Programs\twat-fs' }
        throw 'LOCALAPPDATA is not set; use -Dir'
    }

    function New-Scratch {
        $new = Join-Path $folder ('.twat-fs-' + [guid]::NewGuid().ToString('N'))
        try { [void] [IO.Directory]::CreateDirectory($new) }
        catch { throw "could not write to ${folder}: $($_.Exception.Message)" }
        return $new
    }

    # Download a file of this release into the scratch folder.
    function Get-Asset([string] $Name) {
        $url = "$releases/$releasePath/$Name"
        $file = Join-Path $scratch $Name
        try { Invoke-WebRequest -UseBasicParsing -Uri $url -OutFile $file }
        catch { throw "could not download ${url}: $($_.Exception.Message)" }
        return $file
    }

    function Read-Sums([string] $File) {
        $checksums = @{}
        foreach ($line in [IO.File]::ReadAllLines($File)) {
            if ($line -cmatch '^([0-9a-f]{64}) [ *](\S+)$') {
                $checksums[$Matches[2]] = $Matches[1]
            }
        }
        # twat_fs.py is the last entry of each list: a truncated list or a web page is detected here
        if (-not $checksums['twat_fs.py']) {
            throw "$releases/$releasePath/SHA256SUMS: invalid checksum list; nothing was installed"
        }
        return $checksums
    }

    # Get-FileHash is not found by a 5.1 that PowerShell 7 has started.
    function Get-Sha256([string] $File) {
        $stream = [IO.File]::OpenRead($File)
        $sha256 = [Security.Cryptography.SHA256]::Create()
        try { $hash = $sha256.ComputeHash($stream) } finally { $stream.Dispose() }
        return [BitConverter]::ToString($hash).Replace('-', '').ToLowerInvariant()
    }

    function Get-Verified([string] $Name) {
        Say "downloading $releases/$releasePath/$Name"
        $file = Get-Asset $Name
        if ((Get-Sha256 $file) -cne $sums[$Name]) {
            $url = "$releases/$releasePath/$Name"
            throw "${url}: SHA-256 mismatch with SHA256SUMS; nothing was installed"
        }
        return $file
    }

    # The output of --version, or '' if the program does not run here.
    function Get-Version([string] $File) {
        $ErrorActionPreference = 'Continue'                         # for 5.1 stderr is an error
        try { $output = & $File --version 2>$null } catch { return '' }
        if ($LASTEXITCODE -eq 0 -and "$output" -like 'twat-fs *') { return "$output" }
        return ''
    }

    # The first of these that is 3.9 or newer; the stub of the Store fails here.
    function Find-Python {
        $ErrorActionPreference = 'Continue'
        $code = 'import sys; sys.exit(sys.version_info < (3, 9))'
        foreach ($candidate in @('py -3', 'python3', 'python')) {
            $command, $options = $candidate -split ' '
            $exists = Get-Command $command -CommandType Application -ErrorAction SilentlyContinue
            if (-not $exists) { continue }
            $test = @($options | Where-Object { $_ }) + @('-c', $code)
            try { & $command @test 2>$null | Out-Null } catch { continue }
            if ($LASTEXITCODE -eq 0) { return $candidate }
        }
        throw 'Python 3.9 or newer not found; run winget install Python.Python.3.13'
    }

    # Both return the names of the files that are ready in the scratch folder; the binary may fail.
    function Use-Binary {
        $cpu = $env:PROCESSOR_ARCHITECTURE
        if ($env:PROCESSOR_ARCHITEW6432) { $cpu = $env:PROCESSOR_ARCHITEW6432 }
        $name = 'twat-fs-windows-x86_64.exe'                        # Windows on ARM64 runs it too
        if ($cpu -notin @('AMD64', 'ARM64') -or -not $sums[$name]) {
            Say "no binary for Windows on ${cpu}; using the Python file"
            return
        }
        [IO.File]::Move((Get-Verified $name), (Join-Path $scratch 'twat-fs.exe'))
        if (Get-Version (Join-Path $scratch 'twat-fs.exe')) { return 'twat-fs.exe' }
        Say "$name does not run here; using the Python file"
    }

    function Use-Python {
        $interpreter = Find-Python
        [IO.File]::Move((Get-Verified 'twat_fs.py'), (Join-Path $scratch 'twat-fs.py'))
        $start = "@$interpreter ""%~dp0twat-fs.py"" %*`r`n"
        [IO.File]::WriteAllText((Join-Path $scratch 'twat-fs.cmd'), $start)
        $files = @('twat-fs.py', 'twat-fs.cmd')
        if (Get-Version (Join-Path $scratch 'twat-fs.cmd')) { return $files }
        throw 'twat_fs.py does not run here; nothing was installed'
    }

    # A program that runs cannot be overwritten, but it can be moved.
    function Move-Away([string] $Name) {
        $target = Join-Path $folder $Name
        if (Test-Path -LiteralPath $target) {
            [IO.File]::Move($target, (Join-Path $scratch "old-$Name"))
        }
    }

    function Move-In([string] $Name) {
        $target = Join-Path $folder $Name
        $old = Join-Path $scratch "old-$Name"
        try {
            Move-Away $Name
            [IO.File]::Move((Join-Path $scratch $Name), $target)
        } catch {
            $reason = $_.Exception.Message
            if ((Test-Path -LiteralPath $old) -and -not (Test-Path -LiteralPath $target)) {
                [IO.File]::Move($old, $target)
            }
            throw "could not write ${target}: $reason"
        }
    }

    # Also the scratch folders of earlier installations, with programs that were running.
    function Remove-Scratch {
        if (-not (Test-Path -LiteralPath $folder)) { return }
        Get-ChildItem -LiteralPath $folder -Filter '.twat-fs-*' -Force |
            Remove-Item -Recurse -Force -ErrorAction SilentlyContinue
    }

    # The folders on the user's PATH, with %VARIABLES% unexpanded.
    function Get-UserPath {
        $key = Get-Item -LiteralPath $registry
        $value = $key.GetValue('Path', '', 'DoNotExpandEnvironmentNames')
        return @($value -split ';' | Where-Object { $_ })
    }

    # Only .NET notifies running programs of a change: set and delete a variable through it.
    function Set-UserPath([string[]] $Folders) {
        $value = $Folders -join ';'
        Set-ItemProperty -Type ExpandString -LiteralPath $registry -Name Path -Value $value
        $signal = 'twat-fs-' + [guid]::NewGuid().ToString('N')
        [Environment]::SetEnvironmentVariable($signal, 'x', 'User')
        [Environment]::SetEnvironmentVariable($signal, [NullString]::Value, 'User')
    }

    function Show-Path {
        if ($env:GITHUB_PATH) { [IO.File]::AppendAllText($env:GITHUB_PATH, "$folder`n") }
        if ($AddToPath) {
            $before = @(Get-UserPath)
            if ($before -notcontains $folder) { Set-UserPath (@($folder) + $before) }
        }
        if (($env:Path -split ';') -contains $folder) { return }
        if ($AddToPath) { $env:Path = "$folder;$env:Path"; return }
        $quoted = $folder.Replace("'", "''")
        Say "$folder is not on PATH; use -AddToPath, or for this window only:"
        Write-Host "    `$env:Path = '$quoted;' + `$env:Path"
    }

    function Remove-TwatFs {
        $existing = @($fileNames | Where-Object { Test-Path -LiteralPath (Join-Path $folder $_) })
        if (-not $existing) { throw "twat-fs not found in $folder" }
        foreach ($name in $existing) {
            $file = Join-Path $folder $name
            try { [IO.File]::Delete($file) }
            catch { throw "could not delete ${file}: $($_.Exception.Message)" }
            Say "deleted $file"
        }
        Remove-Scratch
        if (Get-ChildItem -LiteralPath $folder -Force) { return }
        [IO.Directory]::Delete($folder)
        $before = @(Get-UserPath)
        if ($before -contains $folder) { Set-UserPath @($before | Where-Object { $_ -ne $folder }) }
    }

    if ($Help) { Write-Host $usage; return }
    if ($env:OS -ne 'Windows_NT') { throw 'unsupported system; use install.sh' }
    $folder = Get-Folder
    if ($Uninstall) { Remove-TwatFs; return }
    $releases = 'https://github.com/twardoch/twat-fs/releases'
    if ($env:TWAT_FS_BASE_URL) { $releases = $env:TWAT_FS_BASE_URL.TrimEnd('/') }
    $releasePath = Get-ReleasePath
    $protocols = [Net.ServicePointManager]::SecurityProtocol
    $scratch = New-Scratch
    try {
        $tls12 = [Net.SecurityProtocolType]::Tls12
        [Net.ServicePointManager]::SecurityProtocol = $protocols -bor $tls12
        $sums = Read-Sums (Get-Asset 'SHA256SUMS')
        $ready = @()
        if (-not $Python) { $ready = @(Use-Binary) }
        if (-not $ready) { $ready = @(Use-Python) }
        foreach ($name in $ready) { Move-In $name }
        foreach ($name in $fileNames) {
            if ($ready -notcontains $name) { Move-Away $name }
        }
        $program = Join-Path $folder $ready[-1]
        Say "installed $(Get-Version $program) as $program"
    } finally {
        [Net.ServicePointManager]::SecurityProtocol = $protocols
        Remove-Scratch
    }
    Show-Path
}

Install-TwatFs @args
